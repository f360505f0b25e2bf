// What is going on, for all views, and what to do when it changes.

import { ask } from './api.js';
import { el, tell } from './dom.js';

export const state = { summary: null, inboxes: [], view: null };

export function banners() {
  const found = [];
  if (state.summary?.stopped) found.push(`Nothing is submitted now, and all work waits ${state.summary.stopped.why}`);
  for (const held of state.summary?.models_held || []) found.push(`${held.model} waits: ${held.why}`);
  for (const line of state.inboxes) if (line.frozen) found.push(`The folder ${line.inbox} cannot be used now: ${line.frozen}`);
  document.getElementById('banners').replaceChildren(...found.map((words) => el('p', { class: 'banner' }, words)));
}

export async function refreshAround() {
  const [summary, found] = await Promise.all([ask('/api/summary'), ask('/api/inboxes')]);
  state.summary = summary;
  state.inboxes = found.inboxes;
  banners();
  state.view?.around();
}

export async function refresh() {
  try {
    await refreshAround();
    await state.view?.reload();
  } catch (error) {
    tell(error.message);
  }
}
