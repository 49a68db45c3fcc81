'use strict';
/* What comes from the server becomes text nodes and values of attributes, never markup. */
const byId = id => document.getElementById(id);
const known = x => typeof x === 'number' && Number.isFinite(x);
const none = '\u2013';

function make(name, attributes, ...children)
{
  const svg = ['svg', 'path', 'line'].includes(name);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {}))
    node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* Only where it changes: a selection stays, and a screen reader has nothing to say twice. */
function say(node, text)
{
  if (node.textContent !== text)
    node.textContent = text;
}

function bar(share)
{
  const fill = make('div');
  fill.style.width = 100 * Math.min(1, Math.max(0, share || 0)) + '%';
  return make('div', {class: 'track', 'aria-hidden': 'true'}, fill);
}

const count = x => known(x) ? Math.round(x).toLocaleString('en') : none;
const fixed = (x, digits) => known(x) ? x.toFixed(digits) : none;
const percent = (x, digits) => known(x) ? (100 * x).toFixed(digits) + ' %' : none;
const decibels = x => known(x) ? x.toFixed(1) + ' dB' : none;
const short = x => !known(x)                                  ? none
                   : x === 0                                  ? '0'
                   : Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(+x.toPrecision(3))
                                                              : x.toExponential(1);
const perSecond = x => !known(x) ? none : (x < 10 ? x.toFixed(1) : count(x)) + ' /s';
const bytes = x => !known(x) ? none : x < 2 ** 30 ? (x / 2 ** 20).toFixed(0) + ' MiB' : (x / 2 ** 30).toFixed(1) + ' GiB';
const tail = (text, n) => text.length > n ? '\u2026' + text.slice(text.length - n + 1) : text;
const plural = (n, word) => count(n) + ' ' + word + (n === 1 ? '' : 's');

/* A time that something took. */
function took(seconds)
{
  if (!known(seconds))
    return none;
  if (seconds < 1e-3)
    return Math.round(seconds * 1e6) + ' \u00b5s';
  if (seconds < 1)
    return +(seconds * 1e3).toPrecision(seconds < 0.1 ? 2 : 3) + ' ms';
  return seconds < 60 ? +seconds.toPrecision(2) + ' s' : lasted(seconds);
}

/* A time in whole units, the two largest of them. */
function lasted(seconds)
{
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = units.findIndex(([size]) => seconds >= size);
  if (!known(seconds) || first < 0)
    return known(seconds) ? '0 s' : none;
  const [size, unit] = units[first], [less, smaller] = units[first + 1] || [0, ''];
  const rest = less ? Math.floor(seconds % size / less) : 0;
  return Math.floor(seconds / size) + ' ' + unit + (rest ? ' ' + rest + ' ' + smaller : '');
}

const dates = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short'});
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: 'medium'});
const date = unix => known(unix) && unix > 0 ? dates.format(new Date(unix * 1000)) : none;

/* Names and values that are brought up to date in place. */
class Facts {
  constructor(label)
  {
    this.list = make('dl', {class: 'facts', 'aria-label': label});
    this.rows = new Map();
  }
  /* Without a value the fact is not shown. */
  set(name, value, note, tone)
  {
    let row = this.rows.get(name);
    if (!row) {
      row = {value: make('dd'), note: make('dd')};
      row.group = make('div', {}, make('dt', {}, name), row.value, row.note);
      this.rows.set(name, row);
      this.list.append(row.group);
    }
    row.group.hidden = value === null || value === undefined;
    say(row.value, value || '');
    say(row.note, note || '');
    row.note.hidden = !note;
    row.value.className = tone || '';
  }
}

/* What the server says of itself; it throws where there is no answer. */
async function ask(path, options)
{
  const response = await fetch(path, {cache: 'no-store', signal: AbortSignal.timeout(15000), ...options});
  const isJson = (response.headers.get('Content-Type') || '').startsWith('application/json');
  const text = await response.text();
  const body = isJson ? JSON.parse(text) : text;
  const error = response.ok ? '' : isJson && body.error || 'status ' + response.status;
  return {ok: response.ok, status: response.status, body, error, date: Date.parse(response.headers.get('Date')) / 1000};
}
