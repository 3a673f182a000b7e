// What the page knows: the server's state as one user sees it, and what only this browser tab knows.

export const world = { state: null };

export const here = {
  user: new URLSearchParams(location.search).get("user") || "",
  place: "", // a channel id, or "home"
  thread: null, // ts of the open thread's first message
  focus: null, // ts of a message to point at once
  drafts: new Map(), // what was typed and not sent, by composer
  typed: new Map(), // what was chosen in a modal and not submitted, by view id
  failures: new Map(), // errors of interactions, by message ts or view id
  seen: new Map(), // the latest message seen, by user and channel
  sent: [], // lines sent, newest last, for the arrow key
};

export const names = {
  user: (id) => world.state?.users.find((user) => user.id === id.split("|")[0])?.name || id,
  group: (id) => world.state?.groups.find((group) => group.id === id.split("|")[0])?.handle || id,
  channel: (id) => world.state?.channels.find((channel) => channel.id === id.split("|")[0])?.name,
};

export const channel = (id = here.place) => world.state.channels.find((each) => each.id === id);

const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);
export const changed = () => listeners.forEach((listener) => listener());

let busy = false;
let again = false;

export async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const query = here.user ? `?user=${encodeURIComponent(here.user)}` : "";
    const response = await fetch(`/page/state${query}`, { headers: { Accept: "application/json" } });
    if (response.ok) { world.state = await response.json(); changed(); }
  } catch { /* the stream of news reports that the server is away */ }
  busy = false;
  if (again) { again = false; await refresh(); }
}

// Asks the server to carry out one gesture. Returns {error, errors}.
export async function perform(wish) {
  try {
    const response = await fetch(`/page/do?user=${encodeURIComponent(here.user)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wish),
    });
    return await response.json();
  } catch {
    return { error: "The workspace does not answer." };
  }
}

let stream = null;

export function listen() {
  stream?.close();
  stream = new EventSource(`/page/news?user=${encodeURIComponent(here.user)}`);
  const offline = document.getElementById("offline");
  stream.onmessage = () => { offline.hidden = true; refresh(); };
  stream.onerror = () => {
    offline.hidden = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}
