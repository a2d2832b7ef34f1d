/* What the documents name has to be there: files, commands, options, parameters. */
import {existsSync, globSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {sources} from '../man/generate.ts';

const project = join(import.meta.dirname, '..');
const documents = globSync(['*.md', 'man/*.md'], {cwd: project}).toSorted();
const read = (path: string) => readFileSync(join(project, path), 'utf8');

for (const document of documents) {
	const text = read(document);

	test(`${document} links to files that exist`, t => {
		for (const [, target = ''] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
			t.true(existsSync(join(project, document, '..', target)), target);
		}

		t.pass();
	});

	test(`${document} names files of the project that exist`, t => {
		for (const [, path = ''] of text.matchAll(/[`\t ]((?:src|postfix|test|man)\/[\w./-]*\w)/g)) {
			t.true(existsSync(join(project, path)), path);
		}

		t.pass();
	});

	test(`${document} names commands that are installed, with options that they have`, t => {
		for (const [, command = '', rest = ''] of text.matchAll(
			/postfix-tlsproxy-(\w+)((?: -\w(?: [^-\s`]\S*)?)*)/g,
		)) {
			const source = sources.get(`postfix-tlsproxy-${command}.1`);
			t.not(source, undefined, command);
			const page = read(source ?? '');
			for (const [option] of rest.matchAll(/-\w\b/g)) {
				t.true(page.includes(`\\fB${option}`), `${command} ${option}`);
			}
		}

		t.pass();
	});
}

test('the documents that a stranger looks for are there', t => {
	for (const name of ['INSTALL.md', 'README.md', 'SECURITY.md', 'man/TLS_REUSE_README.md']) {
		t.true(documents.includes(name), name);
	}
});

test('every option of install is in the table of INSTALL.md', t => {
	const [, usage = ''] = /const USAGE = `usage: install ([^`]*)`/.exec(read('postfix/lib/install.ts')) ?? [];
	const options = new Set(usage.match(/-\w\b/g));
	t.true(options.size >= 6);
	for (const option of options) {
		t.true(option === '-a' || read('INSTALL.md').includes(`| \`${option}`), option);
	}
});
