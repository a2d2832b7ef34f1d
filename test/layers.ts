import {globSync, readFileSync} from 'node:fs';
import {dirname, join, normalize} from 'node:path';
import test from 'ava';

const root = new URL('../src/', import.meta.url).pathname;

/* What everybody may import; it imports nothing but itself. */
const base = ['base', 'errors', 'owned', 'step', 'units'];

/* What a folder, or a file at the top, may import besides the base and its own folder. */
const allowed: Readonly<Record<string, readonly string[] | 'everything'>> = {
	...Object.fromEntries(base.map(name => [name, []])),
	'client-role': ['conf', 'log', 'materials', 'own-settings', 'session-store', 'tls', 'wire'],
	'client-session-store': ['tls', 'tlsmgr', 'wire'],
	conf: ['log'],
	errand: 'everything',
	event: ['ffi'],
	ffi: [],
	launch: ['ffi', 'master'],
	log: [],
	main: 'everything',
	master: ['conf', 'event', 'ffi', 'log'],
	materials: ['log', 'tls'],
	metrics: [],
	midna: ['conf', 'log', 'tls'],
	'own-settings': ['conf', 'tls', 'wire'],
	'server-role': ['client-session-store', 'conf', 'log', 'materials', 'own-settings', 'tls', 'wire'],
	start: [],
	'session-store': ['event', 'tls', 'tlsmgr', 'wire'],
	records: ['log'],
	proxy: ['event', 'log', 'metrics', 'tls', 'wire'],
	tls: ['ffi', 'log', 'wire'],
	tlsmgr: ['event', 'log', 'wire'],
	tlsproxy: 'everything',
	wire: [],
};

/* Layers of which only types may be imported: they are erased, and nothing is called. */
const typesOnly: Readonly<Record<string, readonly string[]>> = {tls: ['wire']};

/** The layer of a module, relative to src: its folder, or its name at the top. */
function layerOf(path: string): string {
	return path.split('/')[0]?.replace(/\.ts$/, '') ?? '';
}

interface Import {
	readonly target: string;
	readonly onlyTypes: boolean;
}

/** The modules of this program that a source names: static, dynamic, for side effects, and handed on. */
function importsOf(path: string, source: string): readonly Import[] {
	const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '');
	const statement = /\b(?:(?:import|export)\b(\s+type\b)?[^'";]*?\bfrom|import)\s*\(?\s*['"](\.[^'"]*)['"]/g;
	return [...code.matchAll(statement)].map(([, type, target = '']) => ({
		target: normalize(join(dirname(path), target)),
		onlyTypes: type !== undefined,
	}));
}

/** What is wrong with the imports of a module. */
function complaints(path: string, source: string): readonly string[] {
	const layer = layerOf(path);
	const permitted = allowed[layer];
	if (permitted === undefined) {
		return [`${path} belongs to no layer`];
	}

	return importsOf(path, source).flatMap(({target, onlyTypes}) => {
		const other = layerOf(target);
		if (target.startsWith('..')) {
			return [`${path} imports ${target} from outside`];
		}

		const own = path.includes('/') && other === layer;
		if (permitted !== 'everything' && !own && !base.includes(other) && !permitted.includes(other)) {
			return [`${path} imports ${target}`];
		}

		return !onlyTypes && typesOnly[layer]?.includes(other) === true
			? [`${path} imports more than types from ${target}`]
			: [];
	});
}

const modules = globSync('**/*.ts', {cwd: root}).toSorted();

for (const path of modules) {
	test(`${path} imports only from its own folder and the layers below it`, t => {
		t.deepEqual(complaints(path, readFileSync(join(root, path), 'utf8')), []);
	});
}

test('every layer of the tree is known, and the tree was found', t => {
	t.true(modules.length >= 30);
	t.deepEqual(
		['base', 'conf', 'event', 'ffi', 'master', 'proxy', 'tls', 'tlsmgr', 'wire'],
		[...new Set(modules.filter(path => path.includes('/')).map(layerOf))].toSorted(),
	);
});

test('no module is reached by way of itself', t => {
	const graph = new Map(
		modules.map(path => [
			path,
			importsOf(path, readFileSync(join(root, path), 'utf8'))
				.filter(({onlyTypes}) => !onlyTypes)
				.map(({target}) => target),
		]),
	);
	const visit = (path: string, way: readonly string[]): void => {
		if (way.includes(path)) {
			t.fail([...way, path].join(' -> '));
			return;
		}

		for (const target of graph.get(path) ?? []) {
			visit(target, [...way, path]);
		}
	};
	for (const path of modules) {
		visit(path, []);
	}

	t.pass();
});

/* The test itself: what it must not let through. */
const refuses = test.macro({
	exec(t, path: string, source: string, expected: string) {
		t.deepEqual(complaints(path, source), [expected]);
	},
	title(_, path: string, source: string) {
		return `${path} may not say ${source.replaceAll('\n', ' ')}`;
	},
});

test(refuses, 'ffi/libc.ts', "import {info} from '../log.ts';", 'ffi/libc.ts imports log.ts');
test(
	refuses,
	'wire/attr.ts',
	"import {\n\tread,\n} from '../ffi/libc.ts';",
	'wire/attr.ts imports ffi/libc.ts',
);
test(refuses, 'proxy/pump.ts', "import {read} from '../ffi/libc.ts';", 'proxy/pump.ts imports ffi/libc.ts');
test(
	refuses,
	'proxy/pump.ts',
	"import type {Address} from '../ffi/libc.ts';",
	'proxy/pump.ts imports ffi/libc.ts',
);
test(refuses, 'event/a.ts', "import '../log.ts';", 'event/a.ts imports log.ts');
test(refuses, 'event/a.ts', "const log = await import('../log.ts');", 'event/a.ts imports log.ts');
test(refuses, 'event/a.ts', "export * from '../log.ts';", 'event/a.ts imports log.ts');
test(refuses, 'conf/a.ts', "export type {Fd} from '../ffi/libc.ts';", 'conf/a.ts imports ffi/libc.ts');
test(
	refuses,
	'tls/a.ts',
	"import type {Reactor} from '../event/reactor.ts';",
	'tls/a.ts imports event/reactor.ts',
);
test(
	refuses,
	'tls/a.ts',
	"import {x} from '../wire/attr.ts';",
	'tls/a.ts imports more than types from wire/attr.ts',
);
test(
	refuses,
	'master/a.ts',
	"import {x} from '../proxy/session.ts';",
	'master/a.ts imports proxy/session.ts',
);
test(refuses, 'conf/a.ts', "import {serve} from '../tlsproxy.ts';", 'conf/a.ts imports tlsproxy.ts');
test(refuses, 'log.ts', "import {x} from './ffi/libc/libc.ts';", 'log.ts imports ffi/libc.ts');
test(refuses, 'metrics.ts', "import {x} from './log/log.ts';", 'metrics.ts imports log.ts');
test(refuses, 'units.ts', "import {x} from './log/log.ts';", 'units.ts imports log.ts');
test(
	refuses,
	'tlsproxy.ts',
	"import {x} from '../test/helpers/x.ts';",
	'tlsproxy.ts imports ../test/helpers/x.ts from outside',
);
test(refuses, 'helpers/a.ts', '', 'helpers/a.ts belongs to no layer');
