// Requests to the daemon.

export async function ask(path, options) {
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

export function change(id, what, body) {
  return ask(`/api/jobs/${id}/${what}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Taxiway': '1' },
    body: JSON.stringify(body || {}),
  });
}
