// Questions before something is changed.

import { ask, change } from './api.js';
import { capital, el, plural, tell } from './dom.js';
import { refresh } from './state.js';

const confirmBox = document.getElementById('confirm');

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
      document.dispatchEvent(new Event('changed'));
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    yes.disabled = false;
  };
  confirmBox.replaceChildren(el('form', { class: 'sheet', onsubmit: submit },
    el('h2', { id: 'confirm-title' }, title), words.map((line) => el('p', {}, line)), form, trouble,
    el('div', { class: 'actions' }, yes, el('button', { type: 'button', onclick: () => confirmBox.close() }, 'Keep it'))));
  confirmBox.showModal();
}

export function askCancel(job) {
  sheet(`Cancel ${job.shown}?`, ['Its task at Runway is stopped, too. What Runway has charged stays charged, and an output that is finished already is still delivered.'],
    'Cancel the job', 'alarm', async () => {
      await change(job.id, 'cancel');
      return `${job.shown} is being cancelled.`;
    });
}

export function askRetry(job) {
  const price = job.credits.estimated !== null ? `It may cost about ${plural(job.credits.estimated, 'credit', 'credits')}.` : 'What it costs is not known.';
  sheet(`Run ${job.shown} again?`, ['Its files go back to the inbox and are taken from there, with whatever the sidecar says now.', price],
    'Run it again', 'main', async () => {
      await change(job.id, 'retry');
      return `${job.shown} is back in the inbox.`;
    });
}

export async function askResolve(job) {
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
  return sheet(`Settle ${job.shown}`, ['A request was sent, and it is unknown whether Runway accepted it. Look in Runway’s portal whether there is a task for it.', doubt.evidence],
    'Settle it', 'main', async () => {
      const way = form.querySelector('input[name=way]:checked').value;
      if (way === 'adopt' && !task.value.trim()) throw new Error('Write the task’s ID: Runway’s portal shows it.');
      await change(job.id, 'resolve', way === 'adopt' ? { way, task: task.value.trim() } : { way });
      return `${job.shown} is settled.`;
    }, form);
}
