// How one job is shown: as a card, and its files.

import { askCancel, askResolve, askRetry } from './confirm.js';
import { capital, credits, el, when } from './dom.js';
import { state } from './state.js';

export const GROUPS = [
  { key: 'doubt', title: 'Needs you', states: ['in_doubt'] },
  { key: 'live', title: 'In progress', states: ['uploading', 'submitting', 'running', 'downloading', 'delivering'] },
  { key: 'wait', title: 'Waiting', states: ['waiting', 'queued'] },
  { key: 'failed', title: 'Failed', states: ['failed'] },
  { key: 'done', title: 'Done', states: ['done'] },
  { key: 'cancelled', title: 'Cancelled', states: ['cancelled'] },
];
const STATE_WORDS = { in_doubt: 'in doubt' };
const DOUBT = 'A request was sent, and it is unknown whether Runway accepted it. It is not sent again by itself: you decide.';

const isJob = (job) => job.endpoint !== null || job.attempts > 0 || !['waiting'].includes(job.state);
const isOpen = (job) => !['done', 'failed', 'cancelled'].includes(job.state);
export const file = (job, which, index) => `/files/${job.id}/${which}/${index}`;
export const hasPicture = (shown) => /\.(jpe?g|png|webp)$/i.test(shown.name);

export function stateMark(job) {
  let kind = '';
  if (['failed', 'in_doubt'].includes(job.state)) kind = ' bad';
  else if (job.state === 'done') kind = ' done';
  else if (GROUPS[1].states.includes(job.state)) kind = ' live';
  let words = STATE_WORDS[job.state] || job.state;
  if (job.state === 'running' && job.progress !== null) words += ` ${Math.round(job.progress * 100)} %`;
  return el('p', { class: `state${kind}` }, words);
}

export function why(job) {
  if (job.state === 'in_doubt') return DOUBT;
  return job.state === 'waiting' && job.reason.startsWith('for ') ? `Waits ${job.reason}` : capital(job.reason);
}

export function thumb(job) {
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

export function result(job, shown, large) {
  const address = file(job, 'output', shown.index);
  const name = `${shown.name}, the output of ${job.shown}`;
  if (shown.kind === 'video') {
    const poster = job.inputs.find(hasPicture);
    const film = el('video', {
      controls: true, preload: 'none', playsinline: true, src: address, 'aria-label': name,
      poster: poster ? `${file(job, 'input', poster.index)}/picture` : null,
    });
    // A share that does not answer would keep the browser's few connections busy.
    if (!poster && !state.inboxes.find((line) => line.inbox === job.inbox)?.frozen) inSight.observe(film);
    return film;
  }
  if (shown.kind === 'audio') return el('audio', { controls: true, preload: 'none', src: address, 'aria-label': name });
  if (shown.kind === 'image') {
    const source = !large && hasPicture(shown) ? `${address}/picture` : address;
    return el('a', { class: 'result', href: address, target: '_blank', rel: 'noopener' }, el('img', { src: source, alt: name, loading: 'lazy' }));
  }
  return el('a', { href: address, download: shown.name }, shown.name);
}

export function actions(job) {
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

export function card(job) {
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
      [job.model || job.endpoint, credits(job), state.inboxes.length > 1 ? job.inbox : null].filter(Boolean).map((fact) => el('span', {}, fact)),
      when(job.updated_at)),
    actions(job));
}

// Cards that are the same stay where they are, so that what plays goes on playing.
const drawnCards = new Map();

export function cardFor(job) {
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

export function reconcile(list, elements) {
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] || null);
  });
}
