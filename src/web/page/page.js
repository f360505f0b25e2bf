// The status page. Everything that it shows comes from /api; everything is put on the page as text, never as markup.

const GROUPS = [
  { key: 'doubt', title: 'Needs you', states: ['in_doubt'] },
  { key: 'live', title: 'In progress', states: ['uploading', 'submitting', 'running', 'downloading', 'delivering'] },
  { key: 'wait', title: 'Waiting', states: ['waiting', 'queued'] },
  { key: 'failed', title: 'Failed', states: ['failed'] },
  { key: 'done', title: 'Done', states: ['done'] },
  { key: 'cancelled', title: 'Cancelled', states: ['cancelled'] },
];
const STATE_WORDS = { in_doubt: 'in doubt' };
const DOUBT = 'A request went out, and nobody knows whether Runway took it. It is not sent again by itself: you decide.';
const PAGE = 12;
const SAMPLE = 'prompt: |\n  Slow dolly in; the cat turns its head. #cinematic\nmodel: gen4_turbo\nratio: "1280:720"\nduration: 5\n';

const main = document.getElementById('main');
const detail = document.getElementById('detail');
const confirmBox = document.getElementById('confirm');
let summary = null;
let inboxes = [];
let view = null;

// ---- small helpers

function el(name, properties, ...children) {
  const element = document.createElement(name);
  fill(element, properties);
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function drawn(name, properties, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function fill(element, properties) {
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, '');
    else element.setAttribute(key, value);
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error('taxiway does not answer: is it running?');
  }
  if (answer.status === 401) {
    location.reload();
    throw new Error('Sign in once more.');
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `taxiway answered ${answer.status}`);
  return body;
}

function change(id, what, body) {
  return ask(`/api/jobs/${id}/${what}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Taxiway': '1' },
    body: JSON.stringify(body || {}),
  });
}

let toastTimer;
function tell(words) {
  const toast = document.getElementById('toast');
  toast.textContent = words;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.textContent = ''; }, 8000);
}

function later(wait, act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

const counts = new Intl.NumberFormat('en');
const number = (value) => counts.format(Math.round(value * 100) / 100);
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(text).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function when(text) {
  return el('time', { datetime: text, title: new Date(text).toLocaleString() }, ago(text));
}

function credits(job) {
  const { charged, estimated } = job.credits;
  if (charged !== null) return plural(charged, 'credit', 'credits');
  if (estimated !== null) return `about ${plural(estimated, 'credit', 'credits')}`;
  if (job.endpoint) return 'price unknown';
  return null;
}

// ---- jobs

const isJob = (job) => job.endpoint !== null || job.attempts > 0 || !['waiting'].includes(job.state);
const isOpen = (job) => !['done', 'failed', 'cancelled'].includes(job.state);
const file = (job, which, index) => `/files/${job.id}/${which}/${index}`;
const hasPicture = (shown) => /\.(jpe?g|png|webp)$/i.test(shown.name);

function stateMark(job) {
  let kind = '';
  if (['failed', 'in_doubt'].includes(job.state)) kind = ' bad';
  else if (job.state === 'done') kind = ' done';
  else if (GROUPS[1].states.includes(job.state)) kind = ' live';
  let words = STATE_WORDS[job.state] || job.state;
  if (job.state === 'running' && job.progress !== null) words += ` ${Math.round(job.progress * 100)} %`;
  return el('p', { class: `state${kind}` }, words);
}

function why(job) {
  if (job.state === 'in_doubt') return DOUBT;
  return job.state === 'waiting' && job.reason.startsWith('for ') ? `Waits ${job.reason}` : capital(job.reason);
}

function thumb(job) {
  const picture = job.inputs.find(hasPicture);
  if (picture) {
    return el('img', { class: 'thumb', src: `${file(job, 'input', picture.index)}/picture`, alt: '', loading: 'lazy', width: 72, height: 72 });
  }
  const other = job.inputs[0];
  const alone = job.endpoint ? 'prompt' : 'file';
  const word = other && other.kind !== 'other' ? other.kind : alone;
  return el('span', { class: 'thumb word', 'aria-hidden': 'true' }, word);
}

// A film without a picture of its input shows its first one, once somebody looks at it.
const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    inSight.unobserve(target);
    target.preload = 'metadata';
  }
});

function result(job, shown, large) {
  const address = file(job, 'output', shown.index);
  const name = `${shown.name}, the output of ${job.shown}`;
  if (shown.kind === 'video') {
    const poster = job.inputs.find(hasPicture);
    const film = el('video', {
      controls: true, preload: 'none', playsinline: true, src: address, 'aria-label': name,
      poster: poster ? `${file(job, 'input', poster.index)}/picture` : null,
    });
    // A share that does not answer would keep the browser's few connections busy.
    if (!poster && !inboxes.find((line) => line.inbox === job.inbox)?.frozen) inSight.observe(film);
    return film;
  }
  if (shown.kind === 'audio') return el('audio', { controls: true, preload: 'none', src: address, 'aria-label': name });
  if (shown.kind === 'image') {
    const source = !large && hasPicture(shown) ? `${address}/picture` : address;
    return el('a', { class: 'result', href: address, target: '_blank', rel: 'noopener' }, el('img', { src: source, alt: name, loading: 'lazy' }));
  }
  return el('a', { href: address, download: shown.name }, shown.name);
}

function actions(job) {
  const buttons = [];
  const button = (what, words, act, kind) => {
    buttons.push(el('button', { type: 'button', class: kind, 'data-what': what, onclick: () => act(job) }, words, el('span', { class: 'away' }, ` ${job.shown}`)));
  };
  if (job.state === 'in_doubt') button('resolve', 'Resolve…', askResolve, 'main');
  else if (isOpen(job) && isJob(job)) button('cancel', 'Cancel…', askCancel, '');
  if (job.state === 'failed') buttons.push(el('a', { class: 'button', href: `#/job/${job.id}`, 'data-what': 'more' }, 'What to do', el('span', { class: 'away' }, ` with ${job.shown}`)));
  if (job.state === 'failed' || job.state === 'cancelled') button('retry', 'Run again…', askRetry, '');
  return buttons.length ? el('div', { class: 'actions' }, buttons) : null;
}

function card(job) {
  const shows = job.state !== 'done' && job.state !== 'running' && job.reason;
  return el('li', { class: `card${job.state === 'in_doubt' ? ' needs' : ''}`, 'data-id': job.id },
    el('div', { class: 'head' },
      thumb(job),
      el('div', { class: 'what' },
        el('h3', {}, el('a', { href: `#/job/${job.id}` }, job.shown)),
        stateMark(job),
        job.prompt && el('p', { class: 'prompt soft small' }, job.prompt),
      )),
    job.state === 'running' && job.progress !== null && el('progress', { max: 1, value: job.progress, 'aria-label': `Progress of ${job.shown}` }),
    shows && el('p', { class: 'reason' }, why(job)),
    job.results.map((shown) => result(job, shown, false)),
    el('p', { class: 'facts' },
      [job.model || job.endpoint, credits(job), inboxes.length > 1 ? job.inbox : null].filter(Boolean).map((fact) => el('span', {}, fact)),
      when(job.updated_at)),
    actions(job));
}

// Cards that are the same stay where they are, so that what plays goes on playing.
const drawnCards = new Map();

function cardFor(job) {
  const text = JSON.stringify(job);
  const known = drawnCards.get(job.id);
  if (known && known.text === text) return known.element;
  const element = card(job);
  if (known && known.element.contains(document.activeElement)) {
    const what = document.activeElement.dataset.what;
    requestAnimationFrame(() => {
      const again = what ? element.querySelector(`[data-what="${what}"]`) : null;
      (again || element.querySelector('h3 a')).focus({ preventScroll: true });
    });
  }
  if (drawnCards.size > 2000) drawnCards.clear();
  drawnCards.set(job.id, { text, element });
  return element;
}

function reconcile(list, elements) {
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] || null);
  });
}

// ---- the view of jobs

function jobsView(inbox, query) {
  const groups = new Map();
  const search = el('input', { id: 'search', type: 'search', value: query.get('q') || '', placeholder: 'Name, prompt, model or job', maxlength: 100 });
  const state = el('select', { id: 'state' },
    el('option', { value: '' }, 'All states'),
    GROUPS.map((group) => el('option', { value: group.key, selected: query.get('state') === group.key }, group.title)));
  const place = el('select', { id: 'place' },
    el('option', { value: '' }, 'All folders'),
    inboxes.map((line) => el('option', { value: line.inbox, selected: line.inbox === inbox }, line.inbox)));
  const go = () => {
    // Somebody went on while what was typed here had not been looked for yet.
    if (!search.isConnected) return;
    const parameters = new URLSearchParams();
    if (search.value.trim()) parameters.set('q', search.value.trim());
    if (state.value) parameters.set('state', state.value);
    const base = place.value ? `#/inbox/${encodeURIComponent(place.value)}` : '#/';
    const target = parameters.size ? `${base}?${parameters}` : base;
    if (target !== location.hash) location.hash = target;
  };
  search.addEventListener('input', later(300, go));
  state.addEventListener('change', go);
  place.addEventListener('change', go);

  const title = el('h1', {}, inbox ? `Folder ${inbox}` : 'Jobs');
  const health = el('div', {});
  const empty = el('div', {});
  const lists = el('div', { class: 'groups' });
  const root = [title, health, el('form', { class: 'filters', role: 'search', onsubmit: (event) => { event.preventDefault(); go(); } },
    el('div', { class: 'grow' }, el('label', { for: 'search' }, 'Search'), search),
    el('div', {}, el('label', { for: 'state' }, 'State'), state),
    inboxes.length > 1 || inbox ? el('div', {}, el('label', { for: 'place' }, 'Folder'), place) : null), empty, lists];

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
    const all = inbox ? summary?.inboxes[inbox] || {} : summary?.jobs || {};
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
    const line = inboxes.find((one) => one.inbox === inbox);
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
  return el('p', { class: 'soft' }, 'No job is like that. ', el('a', { href: '#/' }, 'Show all jobs'));
}

function nothingYet(inbox) {
  const lines = inboxes.filter((line) => !inbox || line.inbox === inbox);
  return el('section', { class: 'panel empty' },
    el('h2', {}, 'Nothing is in work, and nothing was yet'),
    el('p', {}, 'Put a picture, a clip, or a text file with a prompt into ', lines.length === 1 ? 'this folder' : 'one of these folders', ':'),
    el('ul', {}, lines.map((line) => el('li', {}, el('code', {}, line.path)))),
    el('p', {}, 'Beside a picture ', el('code', {}, 'cat.jpg'), ', a text file ', el('code', {}, 'cat.jpg.yaml'), ' says what is to become of it:'),
    el('pre', { tabindex: 0, 'aria-label': 'A sample sidecar' }, SAMPLE),
    el('p', { class: 'soft' }, 'It shows up here by itself, and the finished film appears in the outbox. Nothing is submitted before the file is whole.'));
}

// ---- folders

function folder(line) {
  const states = summary?.inboxes[line.inbox] || {};
  const spending = summary?.spending[line.inbox];
  const sum = (words) => words.reduce((total, word) => total + (states[word] || 0), 0);
  return el('section', { class: 'panel', 'aria-label': `Folder ${line.inbox}` },
    view && view.name === 'folders' && el('h2', {}, el('a', { href: `#/inbox/${encodeURIComponent(line.inbox)}` }, line.inbox)),
    line.frozen || line.problems.length
      ? el('ul', { class: 'plain ill' }, line.frozen && el('li', {}, `Cannot be used now: ${line.frozen}`), line.problems.map((problem) => el('li', {}, problem)))
      : el('p', {}, 'In order.'),
    el('dl', { class: 'pairs' },
      el('dt', {}, 'Drop files into'), el('dd', {}, el('code', {}, line.path)),
      el('dt', {}, 'Watched'), el('dd', {}, line.watched || 'not yet'),
      GROUPS.map((group) => [el('dt', {}, group.title), el('dd', {}, number(sum(group.states)))]),
      spending && spentOf(spending).map(([term, credits, note]) => [el('dt', {}, `Credits, ${term.toLowerCase()}`), el('dd', {}, credits, el('small', {}, ` ${note}`))])));
}

function foldersView() {
  const panels = el('div', { class: 'panels' });
  const around = () => panels.replaceChildren(...inboxes.map(folder));
  return { name: 'folders', title: 'Folders', root: [el('h1', {}, 'Folders'), panels], reload: async () => around(), take: () => {}, around };
}

// ---- spending

function spendingView(query) {
  const days = Number(query.get('days')) || 30;
  const period = el('select', { id: 'days' }, [7, 30, 90, 365].map((count) => el('option', { value: count, selected: count === days }, `${count} days`)));
  period.addEventListener('change', () => { location.hash = `#/spending?days=${period.value}`; });
  const figures = el('dl', { class: 'figures' });
  const chart = el('div', { class: 'panel' });
  const root = [el('h1', {}, 'Spending'), figures, el('div', { class: 'filters' }, el('div', {}, el('label', { for: 'days' }, 'Period'), period)), chart];

  function around() {
    if (!summary) return;
    const { organization } = summary;
    const rows = spentOf(summary);
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
function spentOf({ spent_24h: day, spent_30d: month, credits_per_day: perDay, credits_per_month: perMonth }) {
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

// ---- one job

async function showJob(id) {
  let found;
  try {
    found = await ask(`/api/jobs/${encodeURIComponent(id)}`);
  } catch (error) {
    tell(error.message);
    return leaveJob();
  }
  const { job, details } = found;
  const waits = !details;
  const pairs = [
    ['Job', el('code', {}, job.id)], ['Folder', job.inbox], ['Endpoint', job.endpoint], ['Model', job.model],
    ['Cost', credits(job)], ['Task at Runway', job.task_id && el('code', {}, job.task_id)], ['Requests sent', waits ? null : number(job.attempts)],
    ['Taken', new Date(job.created_at).toLocaleString()],
  ].filter(([, value]) => value !== null && value !== undefined && value !== '');
  const inputs = job.inputs || [];
  const results = job.results || [];
  const media = [
    ...inputs.filter(hasPicture).map((shown) => el('figure', {}, el('img', { src: file(job, 'input', shown.index), alt: `${shown.name}, the input` }), el('figcaption', {}, `Input: ${shown.name}`))),
    ...inputs.filter((shown) => shown.kind === 'video').map((shown) => el('figure', {}, el('video', { controls: true, preload: 'none', src: file(job, 'input', shown.index), 'aria-label': `${shown.name}, the input` }), el('figcaption', {}, `Input: ${shown.name}`))),
    ...results.map((shown) => el('figure', {}, result(job, shown, true), el('figcaption', {}, `Output: ${shown.name}`))),
  ];
  const sections = [];
  const section = (title, ...content) => sections.push(el('section', {}, el('h3', {}, title), ...content));
  if (job.reason) section(job.state === 'failed' ? 'What happened' : 'Why', el('p', {}, capital(job.reason)));
  if (details?.failure) {
    if (details.failure.details.length) sections.at(-1).append(el('ul', { class: 'plain' }, details.failure.details.map((line) => el('li', {}, line))));
    section('What to do', el('p', {}, details.failure.advice));
  }
  if (details?.doubt) section('What is known', el('p', {}, details.doubt.evidence));
  if (details?.warnings?.length) section('Warnings', el('ul', { class: 'plain' }, details.warnings.map((line) => el('li', {}, line))));
  if (job.prompt) section('Prompt', el('p', { class: 'whole' }, job.prompt));
  if (media.length) section('Media', el('div', { class: 'media' }, media));
  if (job.outputs.length) section('Where the outputs lie', el('ul', {}, job.outputs.map((path) => el('li', {}, el('code', {}, path)))));
  if (details?.history.length) {
    section('History', el('ol', { class: 'history' }, details.history.map((entry) => el('li', {}, el('time', { datetime: entry.at }, new Date(entry.at).toLocaleString()), el('span', {}, entry.event)))));
  }
  if (details?.request) section('Request', el('pre', { tabindex: 0, 'aria-label': 'The request as it is sent' }, JSON.stringify(details.request, null, 2)));
  detail.replaceChildren(el('div', { class: 'sheet' },
    el('header', {}, el('div', {}, el('h2', { id: 'detail-title' }, job.shown || job.input), stateMark(job)), el('button', { type: 'button', onclick: leaveJob }, 'Close')),
    job.inputs && actions(job),
    el('dl', { class: 'pairs' }, pairs.map(([term, value]) => [el('dt', {}, term), el('dd', {}, value)])),
    sections));
  if (!detail.open) detail.showModal();
}

let cameFrom = '#/';
function leaveJob() {
  if (detail.open) detail.close();
  else if (location.hash.startsWith('#/job/')) location.hash = cameFrom;
}
detail.addEventListener('close', () => {
  if (location.hash.startsWith('#/job/')) location.hash = cameFrom;
});

// ---- asking before doing

function sheet(title, words, label, kind, act, form) {
  const trouble = el('p', { class: 'ill', role: 'alert', hidden: true });
  const yes = el('button', { type: 'submit', class: kind }, label);
  const submit = async (event) => {
    event.preventDefault();
    yes.disabled = true;
    trouble.hidden = true;
    try {
      tell(await act());
      confirmBox.close();
      refresh();
      if (detail.open) showJob(location.hash.slice('#/job/'.length));
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    yes.disabled = false;
  };
  confirmBox.replaceChildren(el('form', { class: 'sheet', onsubmit: submit },
    el('h2', { id: 'confirm-title' }, title), words.map((line) => el('p', {}, line)), form, trouble,
    el('div', { class: 'actions' }, yes, el('button', { type: 'button', onclick: () => confirmBox.close() }, 'Leave it'))));
  confirmBox.showModal();
}

function askCancel(job) {
  sheet(`Cancel ${job.shown}?`, ['Its task at Runway is stopped, too. What Runway has charged stays charged, and an output that is finished already is still delivered.'],
    'Cancel the job', 'alarm', async () => {
      await change(job.id, 'cancel');
      return `${job.shown} is being cancelled.`;
    });
}

function askRetry(job) {
  const price = job.credits.estimated !== null ? `It may cost about ${plural(job.credits.estimated, 'credit', 'credits')}.` : 'What it costs is not known.';
  sheet(`Run ${job.shown} again?`, ['Its files go back to the inbox and are taken from there, with whatever the sidecar says now.', price],
    'Run it again', 'main', async () => {
      await change(job.id, 'retry');
      return `${job.shown} is back in the inbox.`;
    });
}

async function askResolve(job) {
  let doubt;
  try {
    doubt = (await ask(`/api/jobs/${job.id}`)).details?.doubt;
  } catch (error) {
    return tell(error.message);
  }
  if (!doubt) return refresh();
  const [adopt, resubmit, abandon] = doubt.ways_out.map((way) => capital(way.when.replace(/^give it up: /, '')));
  const task = el('input', { id: 'task', autocomplete: 'off', spellcheck: 'false', placeholder: 'Task ID from Runway’s portal' });
  const choice = (value, label, note, extra) => el('div', { class: 'choice' },
    el('input', { type: 'radio', name: 'way', value, id: `way-${value}`, required: true }), el('label', { for: `way-${value}` }, label), el('span', { class: 'soft small' }, note), extra);
  const form = el('fieldset', {}, el('legend', { class: 'away' }, 'How to settle it'),
    choice('adopt', 'Adopt its task', adopt, el('span', {}, el('label', { for: 'task', class: 'away' }, 'Task ID'), task)),
    choice('resubmit', 'Send it again', `${resubmit}. If Runway did take the first one, that costs twice.`),
    choice('abandon', 'Give it up', abandon));
  task.addEventListener('input', () => { form.querySelector('#way-adopt').checked = true; });
  return sheet(`Settle ${job.shown}`, ['A request went out, and nobody knows whether Runway took it. Look in Runway’s portal whether there is a task for it.', doubt.evidence],
    'Settle it', 'main', async () => {
      const way = form.querySelector('input[name=way]:checked').value;
      if (way === 'adopt' && !task.value.trim()) throw new Error('Write the task’s ID: Runway’s portal shows it.');
      await change(job.id, 'resolve', way === 'adopt' ? { way, task: task.value.trim() } : { way });
      return `${job.shown} is settled.`;
    }, form);
}

// ---- what is going on around

function banners() {
  const found = [];
  if (summary?.stopped) found.push(`Nothing is submitted now, and all work waits ${summary.stopped.why}`);
  for (const held of summary?.models_held || []) found.push(`${held.model} waits: ${held.why}`);
  for (const line of inboxes) if (line.frozen) found.push(`The folder ${line.inbox} cannot be used now: ${line.frozen}`);
  document.getElementById('banners').replaceChildren(...found.map((words) => el('p', { class: 'banner' }, words)));
}

async function refreshAround() {
  [summary, { inboxes }] = await Promise.all([ask('/api/summary'), ask('/api/inboxes')]);
  banners();
  view?.around();
}

async function refresh() {
  try {
    await refreshAround();
    await view?.reload();
  } catch (error) {
    tell(error.message);
  }
}

const soon = later(400, refresh);
const aroundSoon = later(700, () => refreshAround().catch(() => {}));
// What has ended is counted now and then only, so that the last change shows in the figures a little later.
const aroundLate = later(4000, () => refreshAround().catch(() => {}));

function pulse(words) {
  const place = document.getElementById('pulse');
  if (place.textContent !== words) place.textContent = words;
}

function listen() {
  const source = new EventSource('/api/events');
  source.addEventListener('open', () => pulse('Live'));
  source.addEventListener('error', () => {
    pulse('No connection; trying again');
    // An answer that is no stream (a proxy without taxiway behind it, too many pages) ends the browser's own trying.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
  source.addEventListener('all', soon);
  source.addEventListener('change', (event) => {
    const { jobs, all } = JSON.parse(event.data);
    view?.take(jobs);
    if (!all) soon();
    aroundSoon();
    aroundLate();
    const open = jobs.find((job) => location.hash === `#/job/${job.id}`);
    if (open && detail.open && !detail.contains(document.activeElement?.closest('video'))) showJob(open.id);
  });
}

// ---- ways

function route() {
  const [path, parameters] = location.hash.replace(/^#/, '').split('?');
  const query = new URLSearchParams(parameters || '');
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  if (location.hash === '#main') return main.focus();
  if (parts[0] === 'job') {
    if (!view) show(jobsView(null, new URLSearchParams()));
    return showJob(parts[1] || '');
  }
  if (detail.open) detail.close();
  const same = cameFrom === (location.hash || '#/') && view;
  cameFrom = location.hash || '#/';
  if (same) return undefined;
  if (parts[0] === 'folders') show(foldersView());
  else if (parts[0] === 'spending') show(spendingView(query));
  else if (parts[0] === 'inbox') show(jobsView(parts[1], query));
  else show(jobsView(null, query));
  for (const link of document.querySelectorAll('nav a')) {
    const here = link.getAttribute('href').replace('#/', '') === (['folders', 'spending'].includes(parts[0]) ? parts[0] : '');
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  return undefined;
}

function show(next) {
  const typing = document.activeElement?.id === 'search' ? document.activeElement.selectionStart : null;
  view = next;
  main.replaceChildren(...next.root.filter(Boolean));
  document.title = `${next.title} – taxiway`;
  if (typing !== null) {
    const search = document.getElementById('search');
    search?.focus();
    search?.setSelectionRange(typing, typing);
  }
  next.around();
  next.reload().catch((error) => tell(error.message));
}

setInterval(() => {
  for (const time of document.querySelectorAll('.card time, .figures time')) time.textContent = ago(time.dateTime);
}, 30000);

try {
  await refreshAround();
} catch (error) {
  tell(error.message);
}
addEventListener('hashchange', route);
route();
listen();
