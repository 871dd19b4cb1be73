// SPDX-License-Identifier: ISC
// isomorphic-git as a client: isomorphic_client.js VERB, where VERB is
//   clone URL DIR | shallow URL DIR DEPTH | push DIR URL REFERENCE | fetch DIR URL REFERENCE |
//   delete DIR URL REFERENCE
const fs = require('fs');
const git = require('isomorphic-git');
const http = require('isomorphic-git/http/node');

async function main() {
	const [verb, a, b, c] = process.argv.slice(2);
	if (verb === 'clone') {
		await git.clone({ fs, http, dir: b, url: a });
		return;
	}
	if (verb === 'shallow') {
		await git.clone({ fs, http, dir: b, url: a, depth: Number(c), singleBranch: true, noTags: true });
		return;
	}
	if (verb === 'fetch') {
		await git.fetch({ fs, http, dir: a, url: b, ref: c.replace('refs/heads/', ''), singleBranch: true });
		return;
	}
	const result = verb === 'push' ? await git.push({ fs, http, dir: a, url: b, ref: c, remoteRef: c })
		: await git.push({ fs, http, dir: a, url: b, ref: 'HEAD', remoteRef: c, delete: true });
	if (!result.ok)
		throw new Error(JSON.stringify(result));
}
main().catch((error) => {
	console.error(error);
	process.exit(1);
});
