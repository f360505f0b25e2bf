// Elements and words for all views. Everything is put on the page as text, never as markup.

export const main = document.getElementById('main');

export function el(name, properties, ...children) {
  const element = document.createElement(name);
  fill(element, properties);
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function drawn(name, properties, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function fill(element, properties) {
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, '');
    else element.setAttribute(key, value);
  }
}

let toastTimer;
export function tell(words) {
  const toast = document.getElementById('toast');
  toast.textContent = words;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.textContent = ''; }, 8000);
}

export function later(wait, act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

const counts = new Intl.NumberFormat('en');
export const number = (value) => counts.format(Math.round(value * 100) / 100);
export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

export function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(text).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function when(text) {
  return el('time', { datetime: text, title: new Date(text).toLocaleString() }, ago(text));
}

export function credits(job) {
  const { charged, estimated } = job.credits;
  if (charged !== null) return plural(charged, 'credit', 'credits');
  if (estimated !== null) return `about ${plural(estimated, 'credit', 'credits')}`;
  if (job.endpoint) return 'price unknown';
  return null;
}
