'use strict';
// Filters, orders, turns and opens what the page holds: all of it as data, and the first findings and pairs of services as rows. It
// makes elements and texts of that data, never markup, and asks for nothing.
(() => {
  const $ = (id) => document.getElementById(id);
  const held = (id) => JSON.parse($(id).textContent);
  const once = (make) => {
    let it;
    return () => (it ??= make());
  };
  const figure = (n) => n.toLocaleString('en');
  const rows = held('rows');
  const whole = once(() => held('assessment'));
  const limits = rows.limits;
  // Texts and elements, as the rows that came with the page have them.
  const among = (ranges) => new RegExp('[' + ranges.map((r) => r.map((c) => '\\u{' + c.toString(16) + '}').join('-')).join('') + ']', 'u');
  const [acting, combining] = [among(rows.acts), among(rows.marks)];
  const tame = (text) => {
    if (/^[ -~\n\t]*$/.test(text)) return text;
    let out = '';
    let pile = 0;
    for (const c of text) {
      pile = combining.test(c) ? pile + 1 : 0;
      const refused = acting.test(c) || pile > limits.pile;
      out += refused ? '⟦U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0') + '⟧' : c;
    }
    return out;
  };
  const el = (name, attributes, ...children) => {
    const it = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
    it.append(...children);
    return it;
  };
  const short = (text, max) => {
    const all = [...tame(text)];
    return all.length > max ? all.slice(0, max - 1).join('') + '…' : all.join('');
  };
  const name = (text) => short(text, limits.name);
  const withCode = (text) => {
    const parts = text.split('`');
    if (parts.length % 2 === 0) parts.push(parts.splice(-2).join('`'));
    return parts.map((part, at) => (at % 2 ? el('code', {}, tame(part)) : tame(part))).filter((part) => part !== '');
  };
  const bytes = new TextEncoder();
  const boxed = (text, children) => {
    const length = [...text].length;
    if (length > limits.text) {
      const told = 'long text, ' + figure(length) + ' characters';
      return [el('span', { class: 'long', tabindex: '0', role: 'group', 'aria-label': told }, ...children)];
    }
    const breaks = text.split(/\p{White_Space}+/u).every((word) => bytes.encode(word).length <= limits.word);
    return breaks ? children : [el('span', { class: 'w' }, ...children)];
  };
  const plain = (text) => boxed(text, [tame(text)]);
  const prose = (text) => boxed(text, withCode(text));
  const line = (text) => withCode(short(text, limits.text));
  const code = (text) => {
    const steps = text.split('/');
    const parts = steps.flatMap((step, at) => (at + 1 < steps.length ? [tame(step) + '/', el('wbr', {})] : [tame(step)]));
    return boxed(text, [el('code', {}, ...parts)]);
  };
  const link = ([label, anchor], alone) => (anchor ? [el('a', { href: '#' + anchor }, name(label))] : alone(label));
  const joined = (parts) => parts.flatMap((part, at) => (at ? [', ', ...part] : part));
  const tag = (word) => [' ', el('span', { class: 'tag' }, word)];

  // A list of which so many rows are on the page at a time, two buttons that turn it, and a sentence that tells where the rest is.
  const paged = (list, turn, rest, size, kind, element) => {
    const kept = [...list.children].filter((child) => child.localName !== 'tbody' && child.localName !== 'details');
    const [back, forth] = turn.querySelectorAll('button');
    const it = { fits: [], from: 0, part: '' };
    it.draw = () => {
      const to = Math.min(it.from + size, it.fits.length);
      list.replaceChildren(...kept, ...it.fits.slice(it.from, to).map(element));
      it.part = it.fits.length > size ? kind + ' ' + figure(it.from + 1) + ' to ' + figure(to) + ' of ' : '';
      rest.hidden = turn.hidden = !it.part;
      rest.firstChild.textContent = 'Here are ' + it.part + figure(it.fits.length) + '. All of them stand in ';
      back.disabled = it.from === 0;
      forth.disabled = to === it.fits.length;
      it.drawn?.();
    };
    it.show = (fits) => {
      [it.fits, it.from] = [fits, 0];
      it.draw();
    };
    it.bring = (at) => {
      const place = it.fits.indexOf(at);
      it.from = place - (place % size);
      it.draw();
    };
    const turned = (by) => {
      it.from += by;
      it.draw();
      list.scrollIntoView();
      list.querySelector('summary,a')?.focus();
    };
    back.addEventListener('click', () => turned(-size));
    forth.addEventListener('click', () => turned(size));
    return it;
  };
  // What brings the row of an anchor that is on no row now onto the page.
  const bringers = [];

  const pairList = $('pair-rows');
  if (pairList) {
    const services = once(() => new Map(whole().services.map((s, at) => [s.name, { zone: s.zone ?? rows.no_zone, anchor: rows.places[at] }])));
    const zone = (service) => name(services().get(service)?.zone ?? rows.no_zone);
    const service = (label) => link([label, services().get(label)?.anchor], (l) => [name(l)]);
    const soft = (words) => el('span', { class: 'soft' }, words);
    const num = (n) => el('td', { class: 'num' }, figure(n));
    const mark = (kind) => document.querySelector('.key use[href="#m-' + kind + '"]').closest('.mk').cloneNode(true);
    const granted = (e) => {
      const by = joined(e.policies.map(plain));
      return e.declared ? ['granted' + (e.conditional ? ' on a condition' : ''), ...(by.length ? [' by ', ...by] : [])] : ['not granted by the newest policy'];
    };
    const operation = (e) => {
      const what = e.operation === null ? [soft('undeclared path')] : code(e.operation);
      return el('tr', {}, el('td', { class: 'op' }, ...what), el('td', {}, ...granted(e)), num(e.allowed), num(e.denied));
    };
    const pair = (n) => {
      const edges = rows.pairs[n].map((at) => whole().edges[at]);
      const cell = whole().matrix[n];
      const { from, from_id, from_name, to } = cell ?? edges[0];
      const caller = from === null ? [soft('not in the inventory')] : service(from);
      for (const stranger of from === null ? [from_id, from_name] : []) if (stranger) caller.push(' ', ...plain(stranger));
      const zones = el('small', {}, zone(from) + ' → ' + zone(to));
      const told = cell ? [el('td', {}, mark(cell.mark)), num(cell.allowed_count), num(cell.denied_count)] : [el('td', { colspan: '3' })];
      const head = el('th', { scope: 'rowgroup' }, ...caller, ' → ', ...service(to), ' ', zones);
      return el('tbody', { id: 'p-' + n }, el('tr', { class: 'pair' }, head, ...told), ...edges.map(operation));
    };
    const made = [...pairList.querySelectorAll('tbody')];
    const list = paged(pairList, $('pair-turn'), $('pair-rest'), limits.pairs, 'pairs', (n) => (made[n] ??= pair(n)));
    const every = rows.pairs.map((_, n) => n);
    list.drawn = () => $('pair-cut')?.toggleAttribute('hidden', list.from > 0);
    if (every.length > limits.pairs) list.show(every);
    bringers.push((anchor) => {
      const n = /^p-\d+$/.test(anchor) ? Number(anchor.slice(2)) : NaN;
      if (n < every.length) list.bring(n);
    });
    // In a drawing of many marks the place of the pointer tells the pair.
    for (const drawing of document.querySelectorAll('.marks')) {
      const title = drawing.insertBefore(document.createElementNS('http://www.w3.org/2000/svg', 'title'), drawing.firstChild);
      const numbers = once(() => {
        const at = drawing.dataset.at.split(' ');
        return new Map(at.flatMap((_, i) => (i % 3 ? [] : [[at[i] + ' ' + at[i + 1], Number(at[i + 2])]])));
      });
      const under = (event) => {
        const box = drawing.getBoundingClientRect();
        const step = (to) => Math.floor(to / Number(drawing.dataset.cell));
        return numbers().get(step(event.clientX - box.left) + ' ' + step(event.clientY - box.top));
      };
      drawing.addEventListener('pointermove', (event) => {
        const cell = whole().matrix[under(event)];
        drawing.classList.toggle('aims', Boolean(cell));
        const word = cell && mark(cell.mark).textContent;
        title.textContent = cell
          ? name(cell.from) + ' → ' + name(cell.to) + ': ' + word + '; ' + figure(cell.allowed_count) + ' allowed, ' + figure(cell.denied_count) + ' denied'
          : '';
      });
      drawing.addEventListener('click', (event) => {
        const n = under(event);
        if (n !== undefined) location.hash = 'p-' + n;
      });
    }
  }

  const sieve = $('sieve');
  if (sieve) {
    const list = $('list');
    const anchorOf = (at) => rows.odd[at] ?? 'f-' + [...whole().findings[at].id].slice(0, limits.name).join('').replace(/[^0-9A-Za-z.]/gu, '-');
    const named = (at, letter, names) =>
      rows.keys[at].split(' ').filter((key) => key[0] === letter).map((key) => names[key.slice(1)]);
    const proof = (lines) => {
      const inputs = new Map();
      for (const it of lines) inputs.set(it.input, [...(inputs.get(it.input) ?? []), String(it.line).padStart(8) + '  ' + it.sha256]);
      return [...inputs].flatMap(([input, texts]) => {
        const path = whole().inputs[input]?.path;
        const source = path === undefined ? 'input ' + input : el('a', { href: '#in-' + input }, name(path));
        return [el('br', {}), source, el('pre', {}, texts.join('\n'))];
      });
    };
    const body = (f, at) => {
      const it = el('dl', { class: 'body', id: anchorOf(at) });
      const say = (word, attributes, ...children) => it.append(el('dt', {}, word), el('dd', attributes, ...children));
      if ([...f.summary].length > limits.text) say('Seen', {}, ...prose(f.summary));
      const services = named(at, 's', rows.services).map((s) => link(s, (label) => [name(label)]));
      const about = services.length ? [services.length === 1 ? ' · service ' : ' · services ', ...joined(services)] : [];
      say('About', {}, ...plain(f.subject), ...about);
      if (f.waived) {
        const until = el('time', { datetime: f.waived.until }, f.waived.until);
        const by = joined(f.waived.approved_by.map(code));
        say('Waived', {}, 'by exception ', ...code(f.waived.exception), ' until ', until, ', agreed by ', ...by, ': ', ...prose(f.waived.reason));
      }
      if (f.suspect) say('Suspect', {}, 'It speaks against a requirement and proves nothing; a person must look.');
      say('To do', {}, ...prose(f.remedy));
      if (f.at !== null) say('Policy', { class: 'mono' }, ...plain(f.at));
      const some = f.count > f.evidence.length && f.evidence.length ? ', of which the first ' + f.evidence.length + ':' : '';
      const count = f.count ? figure(f.count) + some : 'none; it is about policy or about what is missing';
      say('Records', { class: 'proof' }, count, ...proof(f.evidence));
      const controls = named(at, 'r', rows.controls).map((c) => link(c, plain));
      if (controls.length) say('Bears on', {}, ...joined(controls));
      say('Id', { class: 'mono' }, ...plain(f.id));
      return it;
    };
    const row = (at) => {
      const f = whole().findings[at];
      const states = [[f.waived, 'waived'], [f.suspect, 'suspect'], [(' ' + rows.keys[at] + ' ').includes(rows.fresh), 'new']];
      const tags = states.flatMap(([is, word]) => (is ? tag(word) : []));
      const summary = el('summary', {}, el('span', { class: 'sev ' + f.severity }, f.severity));
      summary.append(el('span', { class: 'what' }, ...line(f.summary)), el('span', { class: 'why' }, name(f.check), ...tags));
      return el('details', { class: 'item finding' }, summary, body(f, at));
    };

    // Which findings fit, in which order, and which of them are on the page now.
    const made = [...list.children];
    const element = (at) => (made[at] ??= row(at));
    const every = rows.keys.map((_, at) => at);
    const order = $('order');
    const filters = [...sieve.querySelectorAll('select')].filter((select) => select !== order);
    const words = sieve.querySelector('input');
    const shown = $('shown');
    const page = paged(list, $('turn'), $('rest'), limits.rows, 'findings', element);
    page.fits = every;
    const told = (n) => figure(n) + (n === 1 ? ' finding' : ' findings');
    page.drawn = () => {
      const all = page.fits.length === every.length;
      const of = all ? '' : figure(page.fits.length) + ' of ';
      shown.textContent = (page.part || of ? 'Showing ' : '') + page.part + of + told(every.length);
      sieve.classList.toggle('set', !all);
    };
    const texts = once(() =>
      whole().findings.map((f) => {
        const waived = f.waived ? [f.waived.exception, f.waived.reason, ...f.waived.approved_by] : [];
        const lines = f.evidence.flatMap((e) => [whole().inputs[e.input]?.path ?? '', e.sha256]);
        return [f.id, f.check, f.subject, f.summary, f.remedy, f.at ?? '', ...f.services, ...f.controls, ...waived, ...lines].join(' ').toLowerCase();
      }),
    );
    const worth = (at, by) => {
      if (by === 'n') return -whole().findings[at].count;
      const key = rows.keys[at].split(' ').find((k) => k[0] === by);
      return key ? Number(key.slice(1)) : Infinity;
    };
    const apply = () => {
      const wanted = filters.map((select) => select.value).filter(Boolean);
      const sought = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fit = (at) => {
        const keys = ' ' + rows.keys[at] + ' ';
        return wanted.every((key) => keys.includes(' ' + key + ' ')) && sought.every((word) => texts()[at].includes(word));
      };
      let fits = wanted.length || sought.length ? every.filter(fit) : every;
      if (order.value) fits = fits.map((at) => [worth(at, order.value), at]).sort(([a, x], [b, y]) => (a === b ? x - y : a - b)).map(([, at]) => at);
      page.show(fits);
    };
    const reset = () => {
      for (const select of filters) select.value = '';
      words.value = '';
      apply();
    };
    sieve.addEventListener('change', apply);
    words.addEventListener('input', apply);
    sieve.querySelector('button').addEventListener('click', () => {
      reset();
      filters[0].focus();
    });
    document.addEventListener('click', (event) => {
      const to = event.target.closest && event.target.closest('[data-pick]');
      if (!to) return;
      reset();
      for (const select of filters) {
        for (const option of select.options) if (option.value === to.dataset.pick) select.value = option.value;
      }
      apply();
    });
    const places = once(() => new Map(every.map((at) => [anchorOf(at), at])));
    bringers.push((anchor) => {
      const at = anchor.startsWith('f-') ? places().get(anchor) : undefined;
      if (at === undefined) return;
      if (!page.fits.includes(at)) reset();
      page.bring(at);
    });
    sieve.hidden = false;
    // A browser that goes back may have kept what was chosen.
    if (order.value || words.value || filters.some((select) => select.value) || every.length > limits.rows) apply();
  }
  document.addEventListener('click', (event) => {
    const to = event.target.closest && event.target.closest('[data-go]');
    if (!to) return;
    event.preventDefault();
    location.hash = to.dataset.go;
  });
  // A link leads to its place even where that is folded, filtered away, or not on the page yet.
  const arrive = () => {
    const anchor = location.hash.slice(1);
    if (!anchor) return;
    if (!$(anchor)) {
      for (const bring of bringers) bring(anchor);
      // Once more, so that the row is the target of the address.
      if ($(anchor)) location.replace('#' + anchor);
    }
    const at = $(anchor);
    if (!at) return;
    for (let e = at; e; e = e.parentElement) if (e.localName === 'details') e.open = true;
    at.scrollIntoView();
  };
  addEventListener('hashchange', arrive);
  arrive();
})();
