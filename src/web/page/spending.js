// The view of spending.

import { ask } from './api.js';
import { ago, drawn, el, later, main, number, plural } from './dom.js';
import { state } from './state.js';

export function spendingView(query) {
  const days = Number(query.get('days')) || 30;
  const period = el('select', { id: 'days' }, [7, 30, 90, 365].map((count) => el('option', { value: count, selected: count === days }, `${count} days`)));
  period.addEventListener('change', () => { location.hash = `#/spending?days=${period.value}`; });
  const figures = el('dl', { class: 'figures' });
  const chart = el('div', { class: 'panel' });
  const root = [el('h1', {}, 'Spending'), figures, el('div', { class: 'filters' }, el('div', {}, el('label', { for: 'days' }, 'Period'), period)), chart];

  function around() {
    if (!state.summary) return;
    const { organization } = state.summary;
    const rows = spentOf(state.summary);
    if (organization) rows.push(['Balance', number(organization.credits), `asked ${ago(organization.asked_at)}`]);
    else rows.push(['Balance', 'unknown', 'Runway has not told it yet']);
    figures.replaceChildren(...rows.map(([term, value, note]) => el('div', {}, el('dt', {}, term), el('dd', {}, value, el('small', {}, note)))));
  }

  async function reload() {
    const { spent } = await ask(`/api/spend?days=${days}`);
    chart.replaceChildren(...spendChart(spent, days));
    around();
  }
  return { title: 'Spending', root, reload, take: later(2000, () => reload().catch(() => {})), around };
}

// What was spent over the two times that limits are for: a name, the credits, and what is to be known of them.
export function spentOf({ spent_24h: day, spent_30d: month, credits_per_day: perDay, credits_per_month: perMonth }) {
  return [['Past 24 hours', day, perDay], ['Past 30 days', month, perMonth]].map(([term, spent, limit]) => [
    term, number(spent.charged + spent.estimated),
    [spent.estimated ? `of that ${number(spent.estimated)} expected` : '', spent.unknown ? `and ${plural(spent.unknown, 'task', 'tasks')} of unknown price` : '',
      limit !== null ? `of at most ${number(limit)}` : 'no limit is set'].filter(Boolean).join(', ')]);
}

function spendChart(spent, days) {
  if (spent.length === 0) return [el('p', { class: 'soft' }, `Nothing was spent in the past ${days} days.`)];
  const names = [...new Set(spent.map((row) => row.inbox))];
  const dates = [];
  for (let back = days - 1; back >= 0; back -= 1) dates.push(new Date(Date.now() - back * 86400000).toISOString().slice(0, 10));
  const cost = (rows) => rows.reduce((sum, row) => sum + row.charged + row.estimated, 0);
  const of = (day, name) => spent.filter((row) => row.day === day && row.inbox === name);
  const top = Math.max(1, ...dates.map((day) => cost(spent.filter((row) => row.day === day))));
  // As wide as there is room, so that the figures keep their size on a phone.
  const [width, height, foot] = [Math.max(240, Math.min(1120, main.clientWidth - 34)), 220, 24];
  const marks = [0, 0.5, 1].map((share) => [share, number(top * share)]);
  // A digit is some seven pixels wide.
  const left = 14 + 7 * Math.max(4, ...marks.map(([, mark]) => mark.length));
  const step = (width - left) / dates.length;
  const shade = (index) => Math.max(0.25, 1 - index * 0.3);
  const picture = drawn('svg', { viewBox: `0 0 ${width} ${height}`, class: 'chart', role: 'img', 'aria-label': `Credits spent by day and folder in the past ${days} days; the table below has the figures` });
  for (const [share, mark] of marks) {
    const y = height - foot - share * (height - foot - 12);
    picture.append(drawn('line', { x1: left, x2: width, y1: y, y2: y }), drawn('text', { x: left - 6, y: y + 4, 'text-anchor': 'end' }, mark));
  }
  dates.forEach((day, index) => {
    let base = height - foot;
    names.forEach((name, shadeIndex) => {
      const tall = (cost(of(day, name)) / top) * (height - foot - 12);
      if (tall === 0) return;
      base -= tall;
      picture.append(drawn('rect', { class: 'bar', x: left + index * step + step * 0.12, y: base, width: Math.max(1, step * 0.76), height: tall, opacity: shade(shadeIndex) }));
    });
    if (index % Math.ceil((dates.length * 56) / (width - left)) === 0) picture.append(drawn('text', { x: Math.min(width, left + (index + 0.5) * step), y: height - 6, 'text-anchor': index * step > width - left - 20 ? 'end' : 'middle' }, day.slice(5)));
  });
  const legend = el('p', { class: 'legend' }, names.map((name, index) => el('span', {}, drawn('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, drawn('rect', { width: 10, height: 10, opacity: shade(index) })), name)));
  const table = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Spending as a table' },
    el('table', {},
      el('caption', { class: 'away' }, 'Credits by day (UTC), folder and model'),
      el('thead', {}, el('tr', {}, ['Day', 'Folder', 'Model'].map((head) => el('th', { scope: 'col' }, head)),
        ['Tasks', 'Charged', 'Expected', 'Of unknown price'].map((head) => el('th', { scope: 'col', class: 'number' }, head)))),
      el('tbody', {}, [...spent].reverse().map((row) => el('tr', {},
        el('th', { scope: 'row' }, row.day), el('td', {}, row.inbox), el('td', {}, row.model || '–'),
        [number(row.tasks), number(row.charged), number(row.estimated), number(row.unknown)].map((cell) => el('td', { class: 'number' }, cell)))))));
  return [picture, legend, el('h2', {}, 'Credits by day (UTC), folder and model'), table];
}
