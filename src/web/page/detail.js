// One job with all that is known of it.

import { ask } from './api.js';
import { capital, credits, el, number, tell } from './dom.js';
import { actions, file, hasPicture, result, stateMark } from './job.js';

export const detail = document.getElementById('detail');
// Where the person was before.
export const origin = { hash: '#/' };

export async function showJob(id) {
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

export function leaveJob() {
  if (detail.open) detail.close();
  else if (location.hash.startsWith('#/job/')) location.hash = origin.hash;
}
detail.addEventListener('close', () => {
  if (location.hash.startsWith('#/job/')) location.hash = origin.hash;
});
document.addEventListener('changed', () => {
  if (detail.open) showJob(location.hash.slice('#/job/'.length));
});
