package portreeve.closed

deny if input.context.time >= "2030-01-01T00:00:00.000Z"
