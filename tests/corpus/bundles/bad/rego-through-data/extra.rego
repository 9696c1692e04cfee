package portreeve.extra

import data.portreeve.extra.again as next

deny contains "again" if again

again if next

all := data
