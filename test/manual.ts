import {globSync, readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import test from 'ava';

const root = new URL('../src/', import.meta.url).pathname;
const modules = globSync('**/*.ts', {cwd: root}).toSorted();

/** A reminder, not a rule: a longer file may have more than one topic. */
const LENGTH_LIMIT = 600;

/* Modules whose page is about something else than the module: main.ts carries that of the program. */
const pageNames: ReadonlyMap<string, string> = new Map([['main.ts', 'tlsproxy 8']]);

/** The sections of the block that a source opens with, or undefined when it does not open with one. */
function manualPage(source: string): ReadonlyMap<string, string> | undefined {
	const block = /^\/\*\+\+\n((?:\/\*.*\n)*?)\/\*--\*\/\n/.exec(source)?.[1];
	if (block === undefined) {
		return undefined;
	}

	const sections = new Map<string, string>();
	let heading = '';
	for (const line of block.split('\n').filter(text => text !== '')) {
		const text = line.slice('/*'.length);
		if (/^ [A-Z][A-Z ]*$/.test(text)) {
			heading = text.trim();
			sections.set(heading, '');
		} else {
			sections.set(heading, `${sections.get(heading) ?? ''}${text.trim()}\n`);
		}
	}

	return sections;
}

for (const path of modules) {
	const source = readFileSync(join(root, path), 'utf8');

	test(`${path} opens with its manual page: NAME, SUMMARY, DESCRIPTION`, t => {
		const page = manualPage(source);
		t.is(page?.get('NAME'), `${pageNames.get(path) ?? `${basename(path, '.ts')} 3`}\n`);
		t.regex(page?.get('SUMMARY') ?? '', /^[^\n]{5,72}\n$/);
		t.regex(page?.get('DESCRIPTION') ?? '', /\S{3}/);
		t.is([...(page?.keys() ?? [])].slice(0, 2).join(' '), 'NAME SUMMARY');
		t.false(page?.has(''), 'text before the first heading');
	});

	test(`${path} has less than ${LENGTH_LIMIT} lines`, t => {
		t.true(source.split('\n').length - 1 < LENGTH_LIMIT);
	});
}

test('manualPage takes nothing but the block, at the very top', t => {
	const block = '/*++\n/* NAME\n/*\tx 3\n/* SUMMARY\n/*\ty\n/*--*/\n';
	t.deepEqual(
		manualPage(block),
		new Map([
			['NAME', 'x 3\n'],
			['SUMMARY', 'y\n'],
		]),
	);
	t.is(manualPage(`\n${block}`), undefined);
	t.is(manualPage(`import 'x';\n${block}`), undefined);
	t.is(manualPage(block.replace('/*--*/\n', '')), undefined);
});
