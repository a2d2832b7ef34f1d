import {existsSync, globSync, readFileSync} from 'node:fs';
import {basename, dirname, join, normalize} from 'node:path';
import test from 'ava';

const root = new URL('../src/', import.meta.url).pathname;
const tests = new URL('.', import.meta.url).pathname;

interface Folder {
	/** Folders that it may import from, in addition to itself and base. */
	readonly imports: readonly string[];
	/** Folders from which it may import types only: they are erased, and nothing is called. */
	readonly types?: readonly string[];
}

/*
 * From the bottom to the top: a folder imports only from folders that precede it. A file at
 * the top of src/ and a folder inside a folder are separate entries.
 */
const folders: Readonly<Record<string, Folder>> = {
	base: {imports: []},
	'ffi/libc': {imports: []},
	'ffi/openssl': {imports: ['ffi/libc']},
	ffi: {imports: ['ffi/libc']},
	log: {imports: ['ffi/libc']},
	sandbox: {imports: ['ffi/libc']},
	event: {imports: ['ffi/libc', 'log']},
	conf: {imports: ['log']},
	wire: {imports: ['conf']},
	master: {imports: ['event', 'ffi/libc', 'log']},
	tlsmgr: {imports: ['event', 'log', 'wire']},
	tls: {imports: ['ffi', 'ffi/openssl', 'log'], types: ['conf']},
	'tls/verify': {
		imports: ['ffi', 'ffi/libc', 'ffi/openssl', 'log', 'tls'],
		types: ['conf', 'wire'],
	},
	'tls/resume': {imports: ['ffi/openssl', 'log', 'tls', 'tls/verify'], types: ['wire']},
	'tls/context': {
		imports: ['ffi/libc', 'ffi/openssl', 'log', 'tls', 'tls/resume', 'tls/verify'],
		types: ['conf', 'wire'],
	},
	'tls/report': {imports: ['ffi/openssl', 'log', 'tls', 'tls/verify'], types: ['conf', 'wire']},
	'tls/connection': {
		imports: [
			'ffi/libc',
			'ffi/openssl',
			'log',
			'tls',
			'tls/context',
			'tls/report',
			'tls/resume',
			'tls/verify',
		],
		types: ['conf', 'wire'],
	},
	roles: {
		imports: [
			'conf',
			'event',
			'ffi/libc',
			'log',
			'tls',
			'tls/connection',
			'tls/context',
			'tls/resume',
			'tls/verify',
			'tlsmgr',
			'wire',
		],
	},
	proxy: {imports: ['conf', 'event', 'log', 'tls/connection', 'wire']},
	boot: {imports: ['conf', 'event', 'ffi/libc', 'log', 'master', 'roles', 'sandbox', 'tls']},
	tlsproxy: {
		imports: [
			'boot',
			'conf',
			'event',
			'ffi',
			'ffi/libc',
			'ffi/openssl',
			'log',
			'master',
			'proxy',
			'roles',
			'sandbox',
			'tls/context',
			'tlsmgr',
			'wire',
		],
	},
	main: {imports: ['boot', 'conf', 'ffi/libc', 'log', 'master', 'tlsproxy']},
};

/* Tests of a whole folder. */
const folderTests: readonly string[] = [
	'event/late-deadline.ts',
	'tls/connection/idle.ts',
	'tls/context/cache-keys.ts',
	'wire/vectors.ts',
];

/* Largest number of files in one folder. */
const FOLDER_LIMIT = 14;

/** The entry of a module, relative to src/: its folder, or its name at the top. */
function folderOf(path: string): string {
	const folder = dirname(path);
	return folder === '.' ? path.replace(/\.ts$/, '') : folder;
}

interface Import {
	readonly target: string;
	readonly onlyTypes: boolean;
}

/** The modules of this program that a source names: static, dynamic, for side effects, and re-exported. */
function importsOf(path: string, source: string): readonly Import[] {
	const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
	const statement = /\b(?:(?:import|export)\b(\s+type\b)?[^'";]*?\bfrom|import)\s*\(?\s*['"](\.[^'"]*)['"]/g;
	return [...code.matchAll(statement)].map(([, type, target = '']) => ({
		target: normalize(join(dirname(path), target)),
		onlyTypes: type !== undefined,
	}));
}

/** The imports of a module that its folder does not permit. */
function forbiddenImports(path: string, source: string): readonly string[] {
	const folder = folderOf(path);
	const permitted = folders[folder];
	if (permitted === undefined) {
		return [`${path} is in no known folder`];
	}

	const {imports, types = []} = permitted;
	return importsOf(path, source).flatMap(({target, onlyTypes}) => {
		const other = folderOf(target);
		if (target.startsWith('..')) {
			return [`${path} imports ${target} from outside`];
		}

		if (other === folder || other === 'base' || imports.includes(other)) {
			return [];
		}

		if (types.includes(other)) {
			return onlyTypes ? [] : [`${path} imports more than types from ${target}`];
		}

		return [`${path} imports ${target}`];
	});
}

const modules = globSync('**/*.ts', {cwd: root}).toSorted();
const sources = new Map(modules.map(path => [path, readFileSync(join(root, path), 'utf8')]));

for (const [path, source] of sources) {
	test(`${path} imports only from its folder and from folders that the table permits`, t => {
		t.deepEqual(forbiddenImports(path, source), []);
	});
}

test('the table has the folders of the tree, and each imports only from folders before it', t => {
	t.deepEqual(Object.keys(folders).toSorted(), [...new Set(modules.map(folderOf))].toSorted());
	const names = Object.keys(folders);
	for (const [folder, {imports, types = []}] of Object.entries(folders)) {
		for (const other of [...imports, ...types]) {
			t.true(
				names.indexOf(other) >= 0 && names.indexOf(other) < names.indexOf(folder),
				`${folder} -> ${other}`,
			);
		}
	}
});

test('each import that the table permits exists', t => {
	for (const [folder, {imports, types = []}] of Object.entries(folders)) {
		const found = new Set(
			[...sources]
				.filter(([path]) => folderOf(path) === folder)
				.flatMap(([path, source]) => importsOf(path, source).map(({target}) => folderOf(target))),
		);
		for (const other of [...imports, ...types]) {
			t.true(found.has(other), `${folder} -> ${other}`);
		}
	}
});

/** A cycle of imports; undefined if the graph has no cycle. */
function cycleIn(graph: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
	const done = new Set<string>();
	const visit = (path: string, way: readonly string[]): readonly string[] | undefined => {
		if (way.includes(path)) {
			return [...way.slice(way.indexOf(path)), path];
		}

		if (done.has(path)) {
			return undefined;
		}

		for (const target of graph.get(path) ?? []) {
			const cycle = visit(target, [...way, path]);
			if (cycle !== undefined) {
				return cycle;
			}
		}

		done.add(path);
		return undefined;
	};
	for (const path of graph.keys()) {
		const cycle = visit(path, []);
		if (cycle !== undefined) {
			return cycle;
		}
	}

	return undefined;
}

test('no module imports itself by way of others, not even for a type', t => {
	const graph = new Map(
		[...sources].map(([path, source]) => [path, importsOf(path, source).map(({target}) => target)]),
	);
	t.is(cycleIn(graph)?.join(' -> '), undefined);
});

test('cycleIn finds a cycle, and none where several ways lead to one module', t => {
	t.deepEqual(
		cycleIn(
			new Map([
				['a', ['b']],
				['b', ['c']],
				['c', ['b']],
			]),
		),
		['b', 'c', 'b'],
	);
	t.is(
		cycleIn(
			new Map([
				['a', ['b', 'c']],
				['b', ['c']],
				['c', []],
			]),
		),
		undefined,
	);
});

test('two files stand at the top of src/, and no folder is crowded', t => {
	t.deepEqual(
		modules.filter(path => dirname(path) === '.'),
		['main.ts', 'tlsproxy.ts'],
	);
	const files = globSync('**/*.*', {cwd: root}).toSorted();
	for (const folder of new Set(files.map(path => dirname(path)))) {
		const count = files.filter(path => dirname(path) === folder).length;
		t.true(count <= FOLDER_LIMIT, `${folder} has ${count} files`);
	}
});

test('no base name stands in more than two folders', t => {
	const places = new Map<string, string[]>();
	for (const path of modules) {
		places.set(basename(path), [...(places.get(basename(path)) ?? []), dirname(path)]);
	}

	t.deepEqual(
		[...places].filter(([, names]) => names.length > 2),
		[],
	);
});

function isInSourceFolder(path: string): boolean {
	return dirname(path) !== '.' && existsSync(join(root, dirname(path)));
}

test('tests of modules stand where their modules do', t => {
	const ofModules = globSync('*/**/*.ts', {cwd: tests})
		.filter(path => !basename(path).startsWith('_') && isInSourceFolder(path))
		.toSorted();
	t.true(ofModules.length >= 50);
	t.deepEqual(
		ofModules.filter(path => !modules.includes(path)),
		[...folderTests],
	);
});

/* The test itself: what it must reject. */
const rejects = test.macro({
	exec(t, path: string, source: string, expected: string) {
		t.deepEqual(forbiddenImports(path, source), [expected]);
	},
	title(_, path: string, source: string) {
		return `${path} may not contain ${source.replaceAll('\n', ' ')}`;
	},
});

test(
	rejects,
	'ffi/libc/libc.ts',
	"import {info} from '../../log/log.ts';",
	'ffi/libc/libc.ts imports log/log.ts',
);
test(
	rejects,
	'wire/field.ts',
	"import {\n\tread,\n} from '../ffi/libc/libc.ts';",
	'wire/field.ts imports ffi/libc/libc.ts',
);
test(
	rejects,
	'proxy/pump.ts',
	"import type {Address} from '../ffi/libc/libc.ts';",
	'proxy/pump.ts imports ffi/libc/libc.ts',
);
test(
	rejects,
	'proxy/pump.ts',
	"import {x} from '../tls/context/sni.ts';",
	'proxy/pump.ts imports tls/context/sni.ts',
);
test(rejects, 'event/a.ts', "import '../conf/release.ts';", 'event/a.ts imports conf/release.ts');
test(
	rejects,
	'event/a.ts',
	"const log = await import('../conf/release.ts');",
	'event/a.ts imports conf/release.ts',
);
test(rejects, 'event/a.ts', "export * from '../conf/release.ts';", 'event/a.ts imports conf/release.ts');
test(
	rejects,
	'conf/a.ts',
	"export type {Fd} from '../ffi/libc/libc.ts';",
	'conf/a.ts imports ffi/libc/libc.ts',
);
test(
	rejects,
	'tls/verify/a.ts',
	"import type {X} from '../connection/connection.ts';",
	'tls/verify/a.ts imports tls/connection/connection.ts',
);
test(
	rejects,
	'tls/verify/a.ts',
	"import {x} from '../../wire/field.ts';",
	'tls/verify/a.ts imports more than types from wire/field.ts',
);
test(
	rejects,
	'master/a.ts',
	"import {x} from '../proxy/session.ts';",
	'master/a.ts imports proxy/session.ts',
);
test(rejects, 'conf/a.ts', "import {serve} from '../tlsproxy.ts';", 'conf/a.ts imports tlsproxy.ts');
test(rejects, 'base/units.ts', "import {x} from '../log/log.ts';", 'base/units.ts imports log/log.ts');
test(
	rejects,
	'tlsproxy.ts',
	"import {x} from '../test/helpers/x.ts';",
	'tlsproxy.ts imports ../test/helpers/x.ts from outside',
);
test(rejects, 'helpers/a.ts', '', 'helpers/a.ts is in no known folder');
