// The view of folders.

import { el, number } from './dom.js';
import { GROUPS } from './job.js';
import { spentOf } from './spending.js';
import { state } from './state.js';

export function folder(line) {
  const states = state.summary?.inboxes[line.inbox] || {};
  const spending = state.summary?.spending[line.inbox];
  const sum = (words) => words.reduce((total, word) => total + (states[word] || 0), 0);
  return el('section', { class: 'panel', 'aria-label': `Folder ${line.inbox}` },
    state.view && state.view.name === 'folders' && el('h2', {}, el('a', { href: `#/inbox/${encodeURIComponent(line.inbox)}` }, line.inbox)),
    line.frozen || line.problems.length
      ? el('ul', { class: 'plain ill' }, line.frozen && el('li', {}, `Cannot be used now: ${line.frozen}`), line.problems.map((problem) => el('li', {}, problem)))
      : el('p', {}, 'OK.'),
    el('dl', { class: 'pairs' },
      el('dt', {}, 'Drop files into'), el('dd', {}, el('code', {}, line.path)),
      el('dt', {}, 'Watched'), el('dd', {}, line.watched || 'not yet'),
      GROUPS.map((group) => [el('dt', {}, group.title), el('dd', {}, number(sum(group.states)))]),
      spending && spentOf(spending).map(([term, credits, note]) => [el('dt', {}, `Credits, ${term.toLowerCase()}`), el('dd', {}, credits, el('small', {}, ` ${note}`))])));
}

export function foldersView() {
  const panels = el('div', { class: 'panels' });
  const around = () => panels.replaceChildren(...state.inboxes.map(folder));
  return { name: 'folders', title: 'Folders', root: [el('h1', {}, 'Folders'), panels], reload: async () => around(), take: () => {}, around };
}
