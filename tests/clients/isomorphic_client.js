// SPDX-License-Identifier: ISC
// isomorphic-git as a client: isomorphic_client.js clone URL DIR | push DIR URL REFERENCE
const fs = require('fs');
const git = require('isomorphic-git');
const http = require('isomorphic-git/http/node');

async function main() {
	const [verb, a, b, c] = process.argv.slice(2);
	if (verb === 'clone') {
		await git.clone({ fs, http, dir: b, url: a });
		return;
	}
	const result = await git.push({ fs, http, dir: a, url: b, ref: c, remoteRef: c });
	if (!result.ok)
		throw new Error(JSON.stringify(result));
}
main().catch((error) => {
	console.error(error);
	process.exit(1);
});
