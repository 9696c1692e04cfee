'use strict';
// Filters, orders and opens what the page already holds. It reads tokens and texts, makes no markup, and asks for nothing.
(() => {
  const sieve = document.getElementById('sieve');
  const list = document.getElementById('list');
  let reset = () => {};
  if (sieve && list) {
    const items = [...list.children].map((element, at) => ({
      element,
      at,
      keys: ' ' + element.dataset.k + ' ',
      records: Number(element.dataset.n),
      text: '',
    }));
    const order = document.getElementById('order');
    const filters = [...sieve.querySelectorAll('select')].filter((select) => select !== order);
    const words = sieve.querySelector('input');
    const shown = document.getElementById('shown');
    const first = (item, letter) => {
      const key = item.keys.split(' ').find((k) => k.startsWith(letter));
      return key ? Number(key.slice(1)) : Infinity;
    };
    const told = (n) => n.toLocaleString('en') + (n === 1 ? ' finding' : ' findings');
    const apply = () => {
      const wanted = filters.map((select) => select.value).filter(Boolean);
      const sought = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const item of items) {
        if (sought.length && !item.text) item.text = item.element.textContent.toLowerCase();
        const fits = wanted.every((key) => item.keys.includes(' ' + key + ' ')) && sought.every((word) => item.text.includes(word));
        item.element.hidden = !fits;
        if (fits) left += 1;
      }
      shown.textContent = left === items.length ? told(left) : 'Showing ' + left.toLocaleString('en') + ' of ' + told(items.length);
      sieve.classList.toggle('set', left !== items.length);
    };
    const sort = () => {
      const by = order.value;
      const worth = (item) => (by === 'n' ? -item.records : by ? first(item, by) : 0);
      const ordered = items.map((item) => [worth(item), item]).sort(([a, x], [b, y]) => (a === b ? x.at - y.at : a - b));
      list.append(...ordered.map(([, item]) => item.element));
    };
    reset = () => {
      for (const select of filters) select.value = '';
      words.value = '';
      apply();
    };
    sieve.addEventListener('change', (event) => (event.target === order ? sort() : apply()));
    words.addEventListener('input', apply);
    sieve.querySelector('button').addEventListener('click', () => {
      reset();
      filters[0].focus();
    });
    document.addEventListener('click', (event) => {
      const pick = event.target.closest && event.target.closest('[data-pick]');
      if (!pick) return;
      reset();
      for (const select of filters) {
        for (const option of select.options) if (option.value === pick.dataset.pick) select.value = option.value;
      }
      apply();
    });
    sieve.hidden = false;
    // A browser that goes back may have kept what was chosen.
    if (order.value) sort();
    apply();
  }
  // A link leads to its place even where that is folded or filtered away.
  const arrive = () => {
    const at = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!at) return;
    const finding = at.closest('.finding');
    if (finding && finding.hidden) reset();
    for (let e = at; e; e = e.parentElement) if (e.localName === 'details') e.open = true;
    at.scrollIntoView();
  };
  addEventListener('hashchange', arrive);
  arrive();
})();
