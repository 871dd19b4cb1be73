// SPDX-License-Identifier: ISC
// Serves browser_page.js with isomorphic-git to a headless Chromium, which plays the given scenarios:
//   browser.js PORT SCENARIOS.json    an array of {name, origin?, ...}, see browser_page.js
// Prints the page's answer, {name: result or {error}}, as JSON; exits 0 when the page answered. The
// browser's profile stays in TMPDIR, for the caller to remove.
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');

const [port, plan] = process.argv.slice(2);
const modules = process.env.NODE_PATH;
const files = {
	'/page.js': path.join(__dirname, 'browser_page.js'),
	'/git.js': path.join(modules, 'isomorphic-git/index.umd.min.js'),
	'/http.js': path.join(modules, 'isomorphic-git/http/web/index.umd.js'),
	'/fs.js': path.join(modules, '@isomorphic-git/lightning-fs/dist/lightning-fs.min.js'),
	'/plan.json': plan,
};
// The library wants Node's Buffer; npm's own is three CommonJS modules.
const buffer = () => 'window.Buffer = (() => { const files = {' +
	['buffer', 'base64-js', 'ieee754'].map((name) => `"${name}": (module, exports, require) => {\n` +
		fs.readFileSync(require.resolve(name + '/')) + '\n}').join(',\n') +
	'}; const load = (name) => { const module = { exports: {} };' +
	' files[name](module, module.exports, load); return module.exports; };' +
	' return load("buffer").Buffer; })();';
const page = '<!doctype html><meta charset="utf-8"><title>t</title>' +
	['buffer', 'fs', 'git', 'http', 'page'].map((f) => `<script src="/${f}.js"></script>`).join('');
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
let browser;
let noise = '';

function finish(code) {
	server.close();
	server.closeAllConnections();
	clearTimeout(patience);
	browser.once('exit', () => process.exit(code));
	browser.kill();
	setTimeout(() => browser.kill('SIGKILL'), 5000).unref();
}

const server = http.createServer((request, response) => {
	const type = request.url.endsWith('.js') ? 'text/javascript' : 'text/html';
	if (request.method === 'POST') {
		let body = '';
		request.on('data', (d) => (body += d));
		request.on('end', () => {
			response.end();
			if (request.url === '/say') {
				console.error(body);
				return;
			}
			console.log(body);
			finish(0);
		});
	} else if (request.url === '/') {
		response.setHeader('Content-Type', type);
		response.end(page);
	} else if (request.url === '/buffer.js') {
		response.setHeader('Content-Type', type);
		response.end(buffer());
	} else if (files[request.url]) {
		response.setHeader('Content-Type', type);
		fs.createReadStream(files[request.url]).pipe(response);
	} else {
		response.statusCode = 404;
		response.end();
	}
});
const patience = setTimeout(() => {
	console.error('the page did not answer; the browser said:\n' + noise.slice(-2000));
	finish(1);
}, 1000 * (process.env.BROWSER_WAIT || 120));

server.listen(Number(port), 'localhost', () => {
	browser = spawn('chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
		'--no-first-run', '--disable-background-networking', '--disable-component-update',
		'--disable-sync', '--disable-dev-shm-usage', '--no-proxy-server',
		`--user-data-dir=${profile}`, `http://localhost:${port}/`],
	{ stdio: ['ignore', 'pipe', 'pipe'] });
	browser.stdout.on('data', (d) => (noise += d));
	browser.stderr.on('data', (d) => (noise += d));
	browser.on('error', (e) => {
		console.error('chromium: ' + e.message);
		process.exit(1);
	});
});
