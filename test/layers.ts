import {existsSync, globSync, readFileSync} from 'node:fs';
import {basename, dirname, join, normalize} from 'node:path';
import test from 'ava';

const root = new URL('../src/', import.meta.url).pathname;
const tests = new URL('.', import.meta.url).pathname;

interface Room {
	/** Rooms it may import from, besides itself and base. */
	readonly imports: readonly string[];
	/** Rooms from which it may import types only: they are erased, and nothing is called. */
	readonly types?: readonly string[];
}

/*
 * From the bottom to the top: a room imports only from rooms that stand before it. A file
 * at the top of src/ is a room of its own, and a folder inside a folder is one, too.
 */
const rooms: Readonly<Record<string, Room>> = {
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

/* Tests of a whole room. */
const roomTests: readonly string[] = [
	'event/late-deadline.ts',
	'tls/connection/idle.ts',
	'tls/context/cache-keys.ts',
	'wire/vectors.ts',
];

/* Largest number of files in one folder. */
const FOLDER_LIMIT = 14;

/** The room of a module, relative to src/: its folder, or its name at the top. */
function roomOf(path: string): string {
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

/** The imports of a module that its room does not permit. */
function forbiddenImports(path: string, source: string): readonly string[] {
	const room = roomOf(path);
	const permitted = rooms[room];
	if (permitted === undefined) {
		return [`${path} is in no known room`];
	}

	const {imports, types = []} = permitted;
	return importsOf(path, source).flatMap(({target, onlyTypes}) => {
		const other = roomOf(target);
		if (target.startsWith('..')) {
			return [`${path} imports ${target} from outside`];
		}

		if (other === room || other === 'base' || imports.includes(other)) {
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
	test(`${path} imports only from its own room and the rooms below it`, t => {
		t.deepEqual(forbiddenImports(path, source), []);
	});
}

test('the table has the rooms of the tree, and each imports only from rooms before it', t => {
	t.deepEqual(Object.keys(rooms).toSorted(), [...new Set(modules.map(roomOf))].toSorted());
	const names = Object.keys(rooms);
	for (const [room, {imports, types = []}] of Object.entries(rooms)) {
		for (const other of [...imports, ...types]) {
			t.true(names.indexOf(other) >= 0 && names.indexOf(other) < names.indexOf(room), `${room} -> ${other}`);
		}
	}
});

test('each import that the table permits exists', t => {
	for (const [room, {imports, types = []}] of Object.entries(rooms)) {
		const found = new Set(
			[...sources]
				.filter(([path]) => roomOf(path) === room)
				.flatMap(([path, source]) => importsOf(path, source).map(({target}) => roomOf(target))),
		);
		for (const other of [...imports, ...types]) {
			t.true(found.has(other), `${room} -> ${other}`);
		}
	}
});

/** A chain of imports that leads back to a module, if there is one. */
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
	const folders = new Map<string, string[]>();
	for (const path of modules) {
		folders.set(basename(path), [...(folders.get(basename(path)) ?? []), dirname(path)]);
	}

	t.deepEqual(
		[...folders].filter(([, names]) => names.length > 2),
		[],
	);
});

function isInRoom(path: string): boolean {
	return dirname(path) !== '.' && existsSync(join(root, dirname(path)));
}

test('tests of modules stand where their modules do', t => {
	const ofModules = globSync('*/**/*.ts', {cwd: tests})
		.filter(path => !basename(path).startsWith('_') && isInRoom(path))
		.toSorted();
	t.true(ofModules.length >= 50);
	t.deepEqual(
		ofModules.filter(path => !modules.includes(path)),
		[...roomTests],
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
test(rejects, 'helpers/a.ts', '', 'helpers/a.ts is in no known room');
