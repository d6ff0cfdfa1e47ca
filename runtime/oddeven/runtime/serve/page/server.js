// Predictions by the server that this page came from.

async function ask(path, options) {
  const response = await fetch(path, options).catch(() => { throw new Error("The server does not answer."); });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
  throw new Error(error);
}

const post = (path, body) => ask(path, { method: "POST", body });

export async function open() {
  const { models, camera, kept } = await (await ask("about")).json();
  return {
    models,
    kept,
    camera: camera && (async () => {
      const response = await ask("camera");
      return { blob: await response.blob(), predictions: JSON.parse(response.headers.get("predictions")) };
    }),
    predict: (blob) => Promise.all(models.map(async ({ name }) =>
      (await post(`predict?input&model=${encodeURIComponent(name)}`, blob)).json())),
    keep: async (label, blob) => (await (await post(`keep/${encodeURIComponent(label)}`, blob)).json()).kept,
  };
}
