// The shop's page. It asks again twice a second and shows which version of reviews answered, so that a TrafficSplit can be
// seen at work. Everything is inline: the page loads nothing from anywhere.

import type { Details, Part, Reviews, Setting } from './services.ts'

/** The page as HTML, with what the services answered for this request. */
export function page(about: Part<Details>, reviews: Part<Reviews>, setting: Setting): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Weft bookshop</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header><span class="mark">≋</span> The Weft bookshop <small>a demo of a mesh</small></header>
<main>
  <section class="book">
    <div class="cover" aria-hidden="true"><b>The Loom<br>and the<br>Lighthouse</b><i></i></div>
    ${aboutHtml(about)}
  </section>
  <section class="card">
    <h2>Readers say <span id="badge" class="badge"></span></h2>
    <div id="reviews"></div>
  </section>
  <section class="card live">
    <h2>Which version answered <small>the last 60 requests, two a second</small></h2>
    <div id="strip" class="strip"></div>
    <div id="legend" class="legend"></div>
  </section>
</main>
<footer>productpage ${text(setting.version)} on ${text(setting.pod)}${setting.node ? `, ${text(setting.node)}` : ''}
· reviews: <span id="pod">–</span></footer>
<script>const first = ${JSON.stringify(reviews).replaceAll('<', '\\u003c')};
${script}</script>
</body>
</html>
`
}

function aboutHtml(about: Part<Details>): string {
  if ('error' in about)
    return `<div class="about"><h1>No details today</h1><p class="error">${text(about.error)}</p></div>`
  const { title, author, year, pages, binding, blurb } = about.value
  return `<div class="about">
      <h1>${text(title)}</h1>
      <p class="by">${text(author)}</p>
      <p>${text(blurb)}</p>
      <dl><dt>Published</dt><dd>${year}</dd><dt>Pages</dt><dd>${pages}</dd><dt>Binding</dt><dd>${text(binding)}</dd></dl>
    </div>`
}

function text(plain: string): string {
  return plain.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

const style = `
:root { color-scheme: light dark; --ink: #1d2733; --dim: #66727f; --back: #f4f1ea; --card: #fffdf8; --line: #e4ddcf;
  --v1: #8a97a5; --v2: #1d2733; --v3: #c8372d; --bad: #e0a100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e4d8; --dim: #98a2ad; --back: #14191f; --card: #1c232b; --line: #2c3640;
  --v1: #6d7a88; --v2: #f0ead9; --v3: #ff6a5c; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.55 Georgia, 'Times New Roman', serif }
header, footer, small, dl, .badge, .legend { font-family: system-ui, sans-serif }
header { padding: 1.1rem 1.5rem; font-weight: 600; letter-spacing: .01em; border-bottom: 1px solid var(--line) }
header small, h2 small { font-weight: 400; color: var(--dim); margin-left: .6em; font-size: .8rem }
.mark { color: var(--v3); font-size: 1.3em; vertical-align: -.08em }
main { max-width: 54rem; margin: 2rem auto; padding: 0 1.25rem; display: grid; gap: 1.5rem }
.book { display: grid; grid-template-columns: 11rem 1fr; gap: 2rem; align-items: center }
.cover { position: relative; aspect-ratio: 2 / 3; border-radius: .2rem .5rem .5rem .2rem; padding: 1.2rem; color: #f7ecd2; overflow: hidden;
  background: linear-gradient(160deg, #24506b 0%, #173349 55%, #0d1f30 100%); box-shadow: 0 10px 28px #0005, inset 8px 0 10px -8px #000a }
.cover b { position: relative; z-index: 1; font-size: 1.25rem; line-height: 1.25; font-weight: 400 }
.cover i { position: absolute; inset: auto -30% -20%; height: 62%; opacity: .55;
  background: repeating-linear-gradient(12deg, #e9b44c 0 2px, #0000 2px 11px), repeating-linear-gradient(-14deg, #7fb2c9 0 2px, #0000 2px 13px) }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 }
h2 { font-size: 1.15rem; margin: 0 0 1rem }
.by { color: var(--dim); margin: .2rem 0 .8rem; font-style: italic }
dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem 1rem; font-size: .85rem; margin: 1rem 0 0 }
dt { color: var(--dim) } dd { margin: 0 }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.25rem 1.5rem }
blockquote { margin: 0 0 1rem; padding-left: 1rem; border-left: 3px solid var(--line) }
blockquote:last-child { margin-bottom: 0 }
cite { display: block; color: var(--dim); font-size: .9rem }
.stars { letter-spacing: .12em; font-style: normal; margin-left: .5em }
.badge { font-size: .75rem; font-weight: 600; padding: .15em .7em; border-radius: 1em; color: var(--card); background: var(--v1); vertical-align: .15em }
.strip { display: flex; gap: 2px; height: 2.4rem }
.strip span { flex: 1; border-radius: 2px; background: var(--line) }
.legend { display: flex; gap: 1.5rem; margin-top: .8rem; font-size: .85rem; color: var(--dim) }
.legend b { color: var(--ink); font-variant-numeric: tabular-nums }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em }
.v1 { background: var(--v1) !important } .v2 { background: var(--v2) !important } .v3 { background: var(--v3) !important }
.failed { background: var(--bad) !important } .error { color: var(--bad) }
.stars.black { color: var(--v2) } .stars.red { color: var(--v3) }
footer { max-width: 54rem; margin: 0 auto 2rem; padding: 0 1.25rem; color: var(--dim); font-size: .8rem }
@media (max-width: 34rem) { .book { grid-template-columns: 1fr } .cover { max-width: 9rem } }
`

const script = `
const seen = [];
const [badge, pod, reviews, strip, legend] = ['badge', 'pod', 'reviews', 'strip', 'legend'].map((id) => document.getElementById(id));
const make = (name, className, text) => Object.assign(document.createElement(name), { className, textContent: text });
function show(part) {
  const version = part.value ? part.value.version : 'failed';
  seen.push(version);
  if (seen.length > 60) seen.shift();
  badge.textContent = part.value ? version : 'unavailable';
  badge.className = 'badge ' + version;
  pod.textContent = part.value ? part.value.pod : part.error;
  reviews.replaceChildren(...(part.value ? part.value.reviews.map(quote) : [make('p', 'error', 'Reviews are unavailable: ' + part.error)]));
  strip.replaceChildren(...Array.from({ length: 60 }, (_, at) => make('span', seen[at] || '', '')));
  legend.replaceChildren(...['v1', 'v2', 'v3', 'failed'].map(count));
}
function quote(review) {
  const whole = make('blockquote', '', review.text);
  const cite = make('cite', '', '— ' + review.reviewer);
  const rating = review.rating;
  if (rating) cite.append(rating.error ? make('i', 'stars error', 'no ratings: ' + rating.error)
    : make('i', 'stars ' + rating.colour, '★'.repeat(rating.stars) + '☆'.repeat(5 - rating.stars)));
  whole.append(cite);
  return whole;
}
function count(version) {
  const item = make('span', '', '');
  const share = seen.filter((one) => one === version).length / seen.length;
  item.append(make('i', 'dot ' + version, ''), (version === 'failed' ? 'failed ' : 'reviews ' + version + ' '), make('b', '', Math.round(share * 100) + ' %'));
  return item;
}
async function ask() {
  try {
    show(await (await fetch('/api/reviews', { cache: 'no-store' })).json());
  } catch (error) {
    show({ error: 'the page itself is not reachable' });
  }
  setTimeout(ask, 500);
}
show(first);
setTimeout(ask, 500);
`
