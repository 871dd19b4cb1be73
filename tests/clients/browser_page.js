// SPDX-License-Identifier: ISC
// Runs in the page. Each scenario of plan.json gets a file system of its own:
//   {name, url, branch, user?, password?}    all that a page does with a repository, on `branch`
//   {name, url, reach: true}                 only asks for the references
const http = { request: (GitHttp.default || GitHttp).request };
const author = { name: 't', email: 't@localhost' };

// Every object that a commit reaches, read and hashed again by the library.
async function reach(fs, dir, ref) {
	const seen = new Set();
	const todo = [await git.resolveRef({ fs, dir, ref })];
	while (todo.length > 0) {
		const oid = todo.pop();
		if (seen.has(oid))
			continue;
		seen.add(oid);
		const object = await git.readObject({ fs, dir, oid, format: 'parsed' });
		if (object.type === 'commit')
			todo.push(object.object.tree, ...object.object.parent);
		else if (object.type === 'tree')
			todo.push(...object.object.map((entry) => entry.oid));
	}
	return [...seen].sort();
}

async function commit(fs, dir, text) {
	await fs.promises.writeFile(`${dir}/from-a-page`, text);
	await git.add({ fs, dir, filepath: 'from-a-page' });
	return git.commit({ fs, dir, message: text, author });
}

async function work(fs, { url, branch, user, password }) {
	const remote = { fs, http, url, onAuth: () => ({ username: user, password }), onAuthFailure: () => ({ cancel: true }) };
	const all = { ...remote, dir: '/all' }, few = { ...remote, dir: '/few' };
	const result = {};

	await git.clone({ ...all });
	result.objects = await reach(fs, '/all', 'HEAD');
	result.files = (await git.statusMatrix({ fs, dir: '/all' })).filter((r) => r[1] !== 1 || r[2] !== 1).length;
	result.tags = await git.listTags({ fs, dir: '/all' });
	await git.clone({ ...few, depth: 1, singleBranch: true, noTags: true });
	result.depth = (await git.log({ fs, dir: '/few' })).length;

	// A push, which the other clone fetches; its history grows longer on demand.
	await git.branch({ fs, dir: '/all', ref: branch, checkout: true });
	result.pushed = await commit(fs, '/all', 'one');
	await git.push({ ...all, ref: branch, remoteRef: branch });
	await git.fetch({ ...few, ref: branch, singleBranch: true, tags: false, depth: 3 });
	result.fetched = await git.resolveRef({ fs, dir: '/few', ref: `refs/remotes/origin/${branch}` });
	result.deeper = (await git.log({ fs, dir: '/few', ref: result.fetched })).length;

	// A push from the shallow clone, on top; the first one fetches it and then may rewind it.
	await git.branch({ fs, dir: '/few', ref: branch, object: result.fetched, checkout: true, force: true });
	await git.checkout({ fs, dir: '/few', ref: branch, force: true });
	result.second = await commit(fs, '/few', 'two');
	await git.push({ ...few, ref: branch, remoteRef: branch });
	await git.fetch({ ...all, ref: branch });
	result.back = await git.resolveRef({ fs, dir: '/all', ref: `refs/remotes/origin/${branch}` });
	result.rewind = await git.push({ ...all, ref: branch, remoteRef: branch }).then(
		() => 'allowed', (error) => error.code);

	await git.annotatedTag({ fs, dir: '/all', ref: `tag-${branch}`, message: 't', tagger: author });
	await git.push({ ...all, ref: `tag-${branch}` });
	await git.push({ ...all, ref: branch, remoteRef: `gone-${branch}` });
	await git.push({ ...all, ref: branch, remoteRef: `refs/heads/gone-${branch}`, delete: true });
	return result;
}

async function play() {
	const answer = {};
	for (const scenario of await (await fetch('/plan.json')).json()) {
		const fs = new LightningFS(scenario.name, { wipe: true });
		await fetch('/say', { method: 'POST', body: scenario.name });
		try {
			answer[scenario.name] = scenario.reach
				? (await git.getRemoteInfo({ http, url: scenario.url })).refs
				: await work(fs, scenario);
		} catch (error) {
			answer[scenario.name] = { error: String(error), code: error.code, stack: error.stack };
		}
	}
	await fetch('/done', { method: 'POST', body: JSON.stringify(answer) });
}
play();
