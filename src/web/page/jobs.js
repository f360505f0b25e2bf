// The view of jobs, of all folders or of one.

import { ask } from './api.js';
import { el, later, number, tell } from './dom.js';
import { folder } from './folders.js';
import { GROUPS, cardFor, reconcile } from './job.js';
import { state } from './state.js';

const PAGE = 12;
const SAMPLE = 'prompt: |\n  Slow dolly in; the cat turns its head. #cinematic\nmodel: gen4_turbo\nratio: "1280:720"\nduration: 5\n';

export function jobsView(inbox, query) {
  const groups = new Map();
  const search = el('input', { id: 'search', type: 'search', value: query.get('q') || '', placeholder: 'Name, prompt, model or job', maxlength: 100 });
  const stateBox = el('select', { id: 'state' },
    el('option', { value: '' }, 'All states'),
    GROUPS.map((group) => el('option', { value: group.key, selected: query.get('state') === group.key }, group.title)));
  const place = el('select', { id: 'place' },
    el('option', { value: '' }, 'All folders'),
    state.inboxes.map((line) => el('option', { value: line.inbox, selected: line.inbox === inbox }, line.inbox)));
  const go = () => {
    // Somebody went on while what was typed here had not been looked for yet.
    if (!search.isConnected) return;
    const parameters = new URLSearchParams();
    if (search.value.trim()) parameters.set('q', search.value.trim());
    if (stateBox.value) parameters.set('state', stateBox.value);
    const base = place.value ? `#/inbox/${encodeURIComponent(place.value)}` : '#/';
    const target = parameters.size ? `${base}?${parameters}` : base;
    if (target !== location.hash) location.hash = target;
  };
  search.addEventListener('input', later(300, go));
  stateBox.addEventListener('change', go);
  place.addEventListener('change', go);

  const title = el('h1', {}, inbox ? `Folder ${inbox}` : 'Jobs');
  const health = el('div', {});
  const empty = el('div', {});
  const lists = el('div', { class: 'groups' });
  const root = [title, health, el('form', { class: 'filters', role: 'search', onsubmit: (event) => { event.preventDefault(); go(); } },
    el('div', { class: 'grow' }, el('label', { for: 'search' }, 'Search'), search),
    el('div', {}, el('label', { for: 'state' }, 'State'), stateBox),
    state.inboxes.length > 1 || inbox ? el('div', {}, el('label', { for: 'place' }, 'Folder'), place) : null), empty, lists];

  for (const group of GROUPS) {
    const count = el('span', { class: 'count' });
    const list = el('ul', { class: 'cards' });
    const more = el('button', { type: 'button', hidden: true }, 'Show more', el('span', { class: 'away' }, ` of ${group.title}`));
    const section = el('section', { class: 'group', hidden: true, 'aria-labelledby': `group-${group.key}` },
      el('h2', { id: `group-${group.key}` }, group.title, count), list, el('div', {}, more));
    lists.append(section);
    const one = { ...group, count, list, more, section, jobs: [], next: null };
    more.addEventListener('click', () => load(one, true).catch((error) => tell(error.message)));
    groups.set(group.key, one);
  }

  const asked = () => ({ q: query.get('q') || '', state: query.get('state') || '' });

  function draw(group) {
    reconcile(group.list, group.jobs.map(cardFor));
    group.section.hidden = group.jobs.length === 0;
    group.section.className = `group${['', ' one', ' two'][group.jobs.length] || ''}`;
    group.more.hidden = group.next === null;
    const all = inbox ? state.summary?.inboxes[inbox] || {} : state.summary?.jobs || {};
    const total = group.states.reduce((sum, word) => sum + (all[word] || 0), 0);
    group.count.textContent = asked().q ? '' : number(Math.max(total, group.jobs.length));
  }

  async function load(group, further) {
    const { q, state: only } = asked();
    if (only && only !== group.key) {
      group.jobs = [];
      group.next = null;
      draw(group);
      return;
    }
    const size = further ? PAGE * 2 : Math.max(PAGE, Math.min(group.jobs.length, 200));
    const parameters = new URLSearchParams({ state: group.states.join(','), limit: size });
    if (q) parameters.set('q', q);
    if (inbox) parameters.set('inbox', inbox);
    if (further && group.next) parameters.set('before', group.next);
    const page = await ask(`/api/jobs?${parameters}`);
    const known = new Set(further ? group.jobs.map((job) => job.id) : []);
    group.jobs = (further ? group.jobs : []).concat(page.jobs.filter((job) => !known.has(job.id)));
    group.next = page.next;
    draw(group);
  }

  async function reload() {
    await Promise.all([...groups.values()].map((group) => load(group, false)));
    around();
  }

  function around() {
    for (const group of groups.values()) draw(group);
    const line = state.inboxes.find((one) => one.inbox === inbox);
    health.replaceChildren(...(line ? [folder(line)] : []));
    const shown = [...groups.values()].some((group) => group.jobs.length > 0);
    const { q, state: only } = asked();
    empty.replaceChildren(...(shown ? [] : [q || only ? nothingFound() : nothingYet(inbox)]));
  }

  // What changed goes to the top of its group; jobs further down are on pages that were not asked for.
  function take(jobs) {
    const { q, state: only } = asked();
    for (const job of jobs) {
      let was = null;
      for (const group of groups.values()) {
        const at = group.jobs.findIndex((one) => one.id === job.id);
        if (at >= 0) {
          was = group;
          if (group.states.includes(job.state)) group.jobs[at] = job;
          else group.jobs.splice(at, 1);
        }
      }
      const group = [...groups.values()].find((one) => one.states.includes(job.state));
      const fits = (!inbox || job.inbox === inbox) && (!only || only === group.key) && (!q || was);
      if (fits && !group.jobs.some((one) => one.id === job.id)) group.jobs.unshift(job);
      // On a page that is open for weeks.
      if (group.jobs.length > 400) load(group, false).catch(() => {});
    }
    around();
  }

  return { title: inbox ? `Folder ${inbox}` : 'Jobs', root, reload, take, around };
}

function nothingFound() {
  return el('p', { class: 'soft' }, 'No job matches. ', el('a', { href: '#/' }, 'Show all jobs'));
}

function nothingYet(inbox) {
  const lines = state.inboxes.filter((line) => !inbox || line.inbox === inbox);
  return el('section', { class: 'panel empty' },
    el('h2', {}, 'No jobs yet'),
    el('p', {}, 'Put a picture, a clip, or a text file with a prompt into ', lines.length === 1 ? 'this folder' : 'one of these folders', ':'),
    el('ul', {}, lines.map((line) => el('li', {}, el('code', {}, line.path)))),
    el('p', {}, 'Next to a picture ', el('code', {}, 'cat.jpg'), ', a text file ', el('code', {}, 'cat.jpg.yaml'), ' says what to make of it:'),
    el('pre', { tabindex: 0, 'aria-label': 'A sample sidecar' }, SAMPLE),
    el('p', { class: 'soft' }, 'It appears here automatically, and the finished film in the outbox. Nothing is submitted before the file is complete.'));
}
