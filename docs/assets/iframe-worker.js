// A page that is opened as a file may start no workers, and the search of the site is one. Here it runs in a hidden
// frame instead, which the scripts of Material for MkDocs know as IFrameWorker.
if (location.protocol === "file:") {
  const load = (place, url) =>
    new Promise((resolve, reject) => {
      const script = place.createElement("script");
      Object.assign(script, { src: url, onload: resolve, onerror: reject });
      place.body.append(script);
    });

  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const [inside, place] = [frame.contentWindow, frame.contentDocument];
      place.open();
      place.write("<!doctype html><body></body>");
      place.close();
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(place, each)), Promise.resolve());
      this.inside = inside;
      this.ready = load(place, url);
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })));
    }
  };
}
