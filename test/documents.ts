/*
 * Facts in documents and manual pages: each link, file, command, option, parameter,
 * default, number and list is compared with the program, with postconf(1), or with the
 * sources.
 */
import {execFileSync} from 'node:child_process';
import {existsSync, globSync, readFileSync} from 'node:fs';
import {basename, dirname, join, relative} from 'node:path';
import test from 'ava';
import {sources} from '../man/generate.ts';
import type {Seconds} from '../src/base/units.ts';
import {releaseFeatures} from '../src/conf/release.ts';
import {
	booleanArgument,
	limitArgument,
	pathArgument,
	serviceArgumentNames,
} from '../src/conf/service-arguments.ts';
import {BUFFER_SIZE} from '../src/event/stream.ts';
import {watchdogStep} from '../src/master/watchdog.ts';
import {greetingTimeout, REQUEST_TIMEOUT, sessionTimeout} from '../src/proxy/timeouts.ts';
import {assemble, INSTRUCTION_SIZE, SECCOMP_RET_KILL_PROCESS} from '../src/sandbox/bpf.ts';
import {workerRules} from '../src/sandbox/syscall-filter.ts';
import {type Architecture, syscallNumber} from '../src/sandbox/syscalls.ts';
import {AttributeFramer} from '../src/wire/attribute-list.ts';

const project = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(project, path), 'utf8');
const documents = globSync(['*.md', 'man/*.md', 'doc/**/*.md'], {cwd: project}).toSorted();
/** The documents; a paragraph or list item is one line, so that patterns do not depend on line breaks. */
const text: Readonly<Record<string, string>> = Object.fromEntries(
	documents.map(path => [path, read(path).replaceAll(/(?<=\S)\n *(?=[^\s|#*-])(?!\d+\. )/g, ' ')]),
);
const manual = read('man/tlsproxy.8').replaceAll('\\-', '-');

/** The groups of a pattern that a text must contain. */
function groups(of: string, pattern: RegExp): readonly string[] {
	const match = pattern.exec(of);
	if (match === null) {
		throw new Error(`not found: ${String(pattern)}`);
	}

	return match.slice(1);
}

const matches = (of: string, pattern: RegExp): readonly string[] =>
	[...of.matchAll(pattern)].map(([, group = '']) => group);

test('the documents that a reader expects exist', t => {
	for (const name of [
		'README.md',
		'INSTALL.md',
		'SECURITY.md',
		'CONTRIBUTING.md',
		'man/TLS_REUSE_README.md',
		'doc/internals.md',
		'doc/debugging.md',
		'doc/decisions/README.md',
	]) {
		t.true(documents.includes(name), name);
	}
});

/* Links */

/** The anchors of a document, as GitHub generates them from headings. */
function anchors(document: string): readonly string[] {
	return matches(text[document] ?? '', /^#+ (.*)$/gm).map(heading =>
		heading
			.toLowerCase()
			.replaceAll(/[^\w\- ]/g, '')
			.replaceAll(' ', '-'),
	);
}

const linksOf = (document: string): readonly string[] => matches(text[document] ?? '', /\]\(([^)]+)\)/g);

/* Pages of doc/decisions/ are reached from their README.md and need no links. Any other document without links has lost them. */
const needsLinks = (document: string): boolean =>
	!document.startsWith('doc/decisions/') || document.endsWith('README.md');

for (const document of documents) {
	const links = linksOf(document);
	if (needsLinks(document) || links.length > 0) {
		test(`${document} contains links, and their targets exist`, t => {
			t.true(links.length > 0);
			for (const link of links) {
				const [path = '', anchor] = link.split('#');
				const target = path === '' ? document : relative(project, join(project, dirname(document), path));
				t.true(existsSync(join(project, target)), link);
				t.true(anchor === undefined || anchors(target).includes(anchor), link);
			}
		});
	}
}

test('each document can be reached from README.md', t => {
	const reached = new Set(['README.md']);
	for (const document of reached) {
		for (const link of linksOf(document)) {
			const target = relative(project, join(project, dirname(document), link.split('#')[0] ?? ''));
			if (documents.includes(target)) {
				reached.add(target);
			}
		}
	}

	t.deepEqual([...reached].toSorted(), documents);
});

test('doc/decisions/README.md lists each page with its title', t => {
	const index = text['doc/decisions/README.md'] ?? '';
	for (const page of documents.filter(path => /^doc\/decisions\/[a-z-]+\.md$/.test(path))) {
		const [title = ''] = groups(text[page] ?? '', /^# (.*)$/m);
		t.true(index.includes(`[${title}](${page.slice('doc/decisions/'.length)})`), page);
	}
});

/* Files, commands, identifiers */

const pathsIn = (of: string): readonly string[] =>
	matches(of, /[`\t ](?:\.\/)?((?:src|postfix|test|man|doc|\.ci)\/[\w./-]*[\w/])(?![\w[])/g);

/* One list of all dead names: an assertion in the loop would end the test at the first one. */
test('files of the project that documents name exist', t => {
	const named = documents.flatMap(document => pathsIn(text[document] ?? '').map(path => ({document, path})));
	t.true(new Set(named.map(({document}) => document)).size >= 15);
	t.deepEqual(
		named.filter(({path}) => !existsSync(join(project, path))),
		[],
	);
});

test('pathsIn finds each path in code, in lists and over line breaks', t => {
	t.deepEqual(
		pathsIn('Source: `src/a.ts`, `test/b-c.ts`\n(`./postfix/d`), `test/*.ts`, `src/e/`; see\n`doc/f.md`.'),
		['src/a.ts', 'test/b-c.ts', 'postfix/d', 'src/e/', 'doc/f.md'],
	);
});

test('files that documents name without their folder exist', t => {
	const files = globSync(['{src,test,postfix,man}/**/*.{ts,sh,pl}', 'dist/lib/*'], {cwd: project});
	const known = new Set(files.map(path => basename(path)));
	const named = documents.flatMap(document =>
		matches(text[document] ?? '', /`([\w-]+\.(?:ts|sh|pl))`/g).map(name => ({document, name})),
	);
	t.true(named.length >= 30, String(named.length));
	t.deepEqual(
		named.filter(({name}) => !known.has(name)),
		[],
	);
});

test('events and states in doc/internals.md are those of src/proxy/state.ts', t => {
	const [diagram = ''] = groups(
		text['doc/internals.md'] ?? '',
		/\n(\tawaiting-request --accepted-->(?:.*\n)+?)\n/,
	);
	const source = read('src/proxy/state.ts');
	const known = new Set(matches(source, /'([a-z-]+)'/g));
	const named: readonly string[] = diagram.match(/[a-z]{2,}(?:-[a-z]+)*/g) ?? [];
	t.true(named.length >= 15);
	t.deepEqual(
		named.filter(name => !known.has(name) && !['any', 'state'].includes(name)),
		[],
	);
	for (const [, type = ''] of source.matchAll(/export type (?:State|Event) =\n([\s\S]*?);/g)) {
		for (const name of matches(type, /'([a-z-]+)'/g)) {
			t.true(named.includes(name), name);
		}
	}
});

test('the files with the tables of fields are those that documents name', t => {
	const tables = globSync('src/wire/*.ts', {cwd: project}).filter(path =>
		/^export const \w+Fields = \[/m.test(read(path)),
	);
	for (const document of ['doc/internals.md', 'CONTRIBUTING.md']) {
		t.deepEqual(matches(text[document] ?? '', /tables? of fields[^.]*?`(src\/wire\/[\w-]+\.ts)`/g), tables);
	}
});

test('npm scripts that documents name exist', t => {
	const {scripts} = JSON.parse(read('package.json')) as {readonly scripts: Readonly<Record<string, string>>};
	const named = documents.flatMap(document => matches(text[document] ?? '', /npm run ([\w:]+)/g));
	t.true(named.length >= 10);
	t.deepEqual(
		named.filter(name => !(name in scripts)),
		[],
	);
});

test('identifiers that doc/internals.md and CONTRIBUTING.md name exist in the sources', t => {
	const code = globSync(['src/**/*.ts', 'postfix/lib/**/*.ts'], {cwd: project}).map(read).join('\n');
	const known = new Set(code.match(/#?[A-Za-z_]\w*/g));
	const named = ['doc/internals.md', 'CONTRIBUTING.md']
		.flatMap(document => matches(text[document] ?? '', /`([^`\n]+)`/g))
		/* Calls, members, and names that contain a capital letter after the first. */
		.filter(
			name =>
				/^[A-Za-z_]\w*(?:\.#?\w+)?(?:\(\))?$/.test(name) && /\(\)$|\.#|[a-z][A-Z]|^[A-Z].*\./.test(name),
		)
		.filter(name => !/\.(?:ts|md|sh|pl|json)$/.test(name));
	t.true(named.length >= 30, String(named.length));
	t.deepEqual(
		named.filter(name =>
			name
				.replace('()', '')
				.split('.')
				.some(part => !known.has(part)),
		),
		[],
	);
});

const withoutIndentation = (of: string): string => of.replaceAll(/^\t+/gm, '');

test('the bindings in CONTRIBUTING.md, and the call of an optional one, are those of the sources', t => {
	const source = withoutIndentation(read('src/ffi/openssl/ssl.ts'));
	const samples = matches(read('CONTRIBUTING.md'), /(?<=\n\n)((?:\t\t.*\n)+)/g).map(withoutIndentation);
	t.is(samples.length, 3);
	t.deepEqual(
		samples.filter(sample => !source.includes(sample)),
		[],
	);
});

test('the benchmarks in CONTRIBUTING.md are those of test/bench/run.ts', t => {
	const [operations = ''] = groups(read('test/bench/run.ts'), /const operations[^=]*= \[([^\]]*)\]/);
	const names = matches(operations, /(\w+),/g).map(variable => {
		const [module = ''] = groups(read('test/bench/run.ts'), new RegExp(`\\b${variable}\\b[^;]* from '(.*)'`));
		const [name = ''] = groups(
			read(join('test/bench', module)),
			new RegExp(`const ${variable}: Operation = \\{\\s*name: '(.*)'`),
		);
		return name;
	});
	const [listed = ''] = groups(text['CONTRIBUTING.md'] ?? '', /^The names are (.*)\. `--short/m);
	t.deepEqual(matches(listed, /`([\w-]+)`/g), names);
});

/* Commands of the package */

const commands = ['install', 'uninstall', 'doctor'] as const;

function usageOf(command: string): string {
	const source = read(sources.get(`postfix-tlsproxy-${command}.1`) ?? '');
	/* A command is a module or a shell script. */
	const [, usage = ''] = groups(source, /(?:const USAGE =\s*|^usage=)(['`])usage: ((?:(?!\1)[\s\S])*)\1/m);
	return usage.replaceAll('\\n', '\n').replaceAll(/\s+/g, ' ').trim();
}

const optionsIn = (of: string): readonly string[] =>
	[...new Set(of.match(/(?<=^|[\s[`|])-\w\b/g))].toSorted();

for (const command of commands) {
	const page = read(sources.get(`postfix-tlsproxy-${command}.1`) ?? '');

	test(`the manual page of ${command} has the synopsis and the options of the command`, t => {
		const [synopsis = ''] = groups(page, /^(?:\/\*|#) SYNOPSIS\n([\s\S]*?)^(?:\/\*|#) [A-Z]/m);
		t.is(
			synopsis
				.replaceAll(/\/\*|#/g, '')
				.replaceAll(/\s+/g, ' ')
				.trim(),
			usageOf(command),
		);
		t.deepEqual(matches(page, /^(?:\/\*|#) \.IP "?\\fB(-\w)/gm).toSorted(), optionsIn(usageOf(command)));
	});
}

test('documents use commands of the package with options that they have', t => {
	let checked = 0;
	for (const document of documents) {
		for (const [, command = '', rest = ''] of (text[document] ?? '').matchAll(
			/postfix-tlsproxy-(\w+)((?: -\w(?: [^-\s`]\S*)?)*)/g,
		)) {
			const usage = usageOf(command);
			for (const option of optionsIn(rest)) {
				t.true(optionsIn(usage).includes(option), `${document}: ${command} ${option}`);
				checked++;
			}
		}
	}

	t.true(checked >= 5);
});

test('the table of options in INSTALL.md is complete, with the defaults of install', t => {
	const [table = ''] = groups(text['INSTALL.md'] ?? '', /\| option \| meaning \| default \|\n([\s\S]*?)\n\n/);
	t.deepEqual(optionsIn(table.replaceAll(/ or `-C n`/g, '')), optionsIn(usageOf('install')));
	const source = read('postfix/lib/install.ts');
	const [service] = groups(source, /s: service = '(\w+)'/);
	t.regex(table, new RegExp(`-s SERVICE.*\\| \`${service}\` \\|`));
	const [least] = groups(source, /defaultLimit: Math\.max\((\d+), availableParallelism\(\)\)/);
	t.regex(table, new RegExp(`-l LIMIT.*\\| number of cores, at least ${least} \\|`));
	t.regex(read('postfix/lib/install.ts'), new RegExp(`number of cores, at least ${least}\\)`));
	t.regex(read('postfix/tlsproxy.master.cf'), new RegExp(`number of cores, at least ${least}\\.`));
});

test('the exit statuses in the manual page of doctor are those of the command', t => {
	const source = read('postfix/lib/doctor.ts');
	const [found] = groups(source, /^const FOUND = (\d)/m);
	const [cannotExamine] = groups(source, /^const CANNOT_EXAMINE = (\d)/m);
	const [statuses = ''] = groups(source, /DIAGNOSTICS\n([\s\S]*?)\/\* SEE ALSO/);
	t.regex(statuses, new RegExp(`${found}: at least one finding\\. ${cannotExamine}: the instance`));
	t.regex(text['INSTALL.md'] ?? '', new RegExp(`exit status is ${found}\\.`));
});

test('README.md has the numbers of quickstart', t => {
	const source = read('postfix/lib/quickstart.ts');
	const [sent, streams] = groups(text['README.md'] ?? '', /sends (\d+) messages in (\d+) streams/);
	t.deepEqual([sent], groups(source, /const MESSAGES = (\d+)/));
	t.deepEqual([streams], groups(source, /const STREAMS = (\d+)/));
});

/* Parameters */

/** Parameters and defaults of the installed Postfix. */
const installed = new Map(
	execFileSync('postconf', ['-d'], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']})
		.split('\n')
		.map(line => /^(\w+) = ?(.*)$/.exec(line))
		.flatMap(match => (match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const])),
);
/** Defaults of all releases from 3.4 on. */
const everyRelease = JSON.parse(read('test/fixtures/stock-defaults.json')) as Readonly<
	Record<string, readonly string[]>
>;

const items = [...manual.matchAll(/^\.IP "\\fB(\w+) \((.*)\)\\fR"$/gm)].map(
	([, name = '', value = '']) => [name, value] as const,
);

/** Whether a default is the value in the manual page, or an expression that falls back to it. */
function isDefault(value: string, written: string): boolean {
	const plain = written === 'empty' ? '' : written;
	return value === plain || value.endsWith(`:{${plain}}}`) || value.endsWith(`:${plain}}`);
}

/* Not parameters of any supported release, or not settable. */
const special: readonly string[] = [
	'tls_dane_digest_agility',
	'tls_dane_trust_anchor_digest_enable',
	'config_directory',
	'process_id',
	'process_name',
	'service_name',
	...serviceArgumentNames,
];

test('defaults in man/tlsproxy.8 are those of all releases, and of postconf -d', t => {
	let compared = 0;
	for (const [name, written] of items.filter(([item]) => !special.includes(item))) {
		const defaults = everyRelease[name] ?? [];
		t.true(defaults.length > 0, name);
		if (written === "see 'postconf -d' output") {
			continue;
		}

		const host = installed.get(name);
		for (const value of host === undefined ? defaults : [...defaults, host]) {
			t.true(isDefault(value, written), `${name}: ${value}`);
			compared++;
		}
	}

	t.true(compared > 100);
});

test('man/tlsproxy.8 gives no default for a parameter whose default depends on the release or build', t => {
	for (const [name, written] of items) {
		const defaults = everyRelease[name] ?? [];
		t.true(
			defaults.length < 2 || written.startsWith('see ') || defaults.every(value => isDefault(value, written)),
			name,
		);
	}
});

test('parameters that documents and the main.cf fragment name exist', t => {
	const known = new Set([...installed.keys(), ...items.map(([name]) => name)]);
	const mainCf = read('postfix/tlsproxy.main.cf');
	const named = [
		...documents.flatMap(document =>
			matches(
				text[document] ?? '',
				/`((?:smtp|smtpd|lmtp|tls|tlsproxy|tlsmgr|connection|postscreen|max|maillog)_\w+)(?![\w=*])/g,
			),
		),
		...matches(mainCf, /^#?(\w+) = /gm),
	];
	t.true(named.length > 30);
	t.deepEqual(
		named.filter(name => !known.has(name)),
		[],
	);
});

test('defaults in documents and in the main.cf fragment are those of postconf -d', t => {
	const stated = [
		...documents.flatMap(document => [...(text[document] ?? '').matchAll(/`(\w+)`: (\d+s?)\b/g)]),
		...read('postfix/tlsproxy.main.cf').matchAll(/^#(\w+) = (\d+s?)$/gm),
	];
	t.true(stated.length >= 8);
	for (const [, name = '', value = ''] of stated) {
		t.is(value, installed.get(name) ?? '', name);
	}
});

test('service arguments and their defaults are those of the program, in man/tlsproxy.8 and in INSTALL.md', t => {
	const none = new Map<string, string>();
	const defaults = [
		['client_handshake_count_limit', String(limitArgument(none, 'client_handshake_count_limit'))],
		['fallback', booleanArgument(none, 'fallback') ? 'yes' : 'no'],
		['handshake_count_limit', String(limitArgument(none, 'handshake_count_limit'))],
		['json_log', pathArgument(none, 'json_log') ?? 'empty'],
		['seccomp', booleanArgument(none, 'seccomp') ? 'yes' : 'no'],
	];
	t.deepEqual(new Set(defaults.map(([name]) => name)), new Set<string | undefined>(serviceArgumentNames));
	const [section = ''] = groups(manual, /^\.SH "SERVICE ARGUMENTS"\n([\s\S]*?)^\.SH/m);
	t.deepEqual(
		[...section.matchAll(/^\.IP "\\fB(\w+) \((.*)\)\\fR"$/gm)].map(([, name, value]) => [name, value]),
		defaults,
	);
	const [table = ''] = groups(
		text['INSTALL.md'] ?? '',
		/\| argument \| default \|\n\| --- \| --- \|\n([\s\S]*?)\n\n/,
	);
	t.deepEqual(
		[...table.matchAll(/^\| `(\w+)` \| `?(\w+)`? \|$/gm)].map(([, name, value]) => [name, value]),
		defaults,
	);
});

/* The sandbox, limits, versions */

/** Number of system calls that the filter of a worker permits. */
function permittedCalls(arch: Architecture): number {
	const calls = workerRules({pid: 1, jit: true}).map(({call}) => call);
	return new Set(calls.filter(call => syscallNumber(arch, call) !== undefined)).size;
}

/** Number of instructions of that filter. */
function filterSize(arch: Architecture): number {
	return assemble(arch, workerRules({pid: 1, jit: true}), SECCOMP_RET_KILL_PROCESS).length / INSTRUCTION_SIZE;
}

test('the number of permitted system calls in documents is that of the filter', t => {
	for (const document of ['SECURITY.md', 'doc/decisions/seccomp.md']) {
		const [x64, arm64] = groups(
			text[document] ?? '',
			/(\d+) calls (?:are permitted )?on x86-64, (\d+) on arm64/,
		);
		t.deepEqual([Number(x64), Number(arm64)], [permittedCalls('x64'), permittedCalls('arm64')], document);
	}

	t.deepEqual(groups(text['doc/debugging.md'] ?? '', /SECCOMP_SET_MODE_FILTER, [^{]*\{len=(\d+)/), [
		String(filterSize('x64')),
	]);
	const [x64, arm64] = groups(text['doc/decisions/seccomp.md'] ?? '', /(\d+) and (\d+) instructions/);
	t.deepEqual([Number(x64), Number(arm64)], [filterSize('x64'), filterSize('arm64')]);
});

test('SECURITY.md names the dependencies at run time', t => {
	const imported = globSync('src/**/*.ts', {cwd: project})
		.flatMap(path => matches(read(path), /(?:from|import|import\(|require\()\s*'([a-z@][^'.:]*)'/g))
		.map(name => name.split('/')[0] ?? '');
	const [sentence = ''] = groups(text['SECURITY.md'] ?? '', /^At run time: (.*?)\. /m);
	const named = sentence
		.replaceAll(/\([^)]*\)/g, '')
		.split(/,| and /)
		.map(name => name.trim());
	t.deepEqual(named.toSorted(), ['Node.js', ...new Set(imported)].toSorted());
});

test('SECURITY.md names the modules that the Perl launcher uses', t => {
	const used = matches(read('src/boot/launch.pl'), /^use (\w+);/gm);
	const [named = ''] = groups(text['SECURITY.md'] ?? '', /no modules except ([^;]*);/);
	t.deepEqual(matches(named, /`(\w+)`/g), used);
});

test('limits in SECURITY.md are those of the program', t => {
	const [table = ''] = groups(text['SECURITY.md'] ?? '', /\| threat \| limit \|\n([\s\S]*?)\n\n/);
	const features = releaseFeatures('3.7.11');
	t.true(
		table.includes(
			`sends nothing | ${greetingTimeout(features) / 1000} s (${greetingTimeout(releaseFeatures('3.5.25')) / 1000} s with Postfix before 3.6),`,
		),
	);
	t.true(table.includes(`middle of its request | ${REQUEST_TIMEOUT / 1000} s |`));
	t.true(table.includes(`does not read | ${BUFFER_SIZE / 1024} KiB per direction`));
	t.true(table.includes(`the time limit of the request and ${sessionTimeout(undefined) / 1000} s |`));
	const exceeds = (list: string): string =>
		t.throws(() => {
			new AttributeFramer().push(Buffer.from(list));
		})?.message ?? '';
	const [value] = groups(exceeds('x'.repeat(2_000_000)), /exceeds (\d+) bytes/);
	const [list, count] = groups(exceeds('a\0b\0'.repeat(10_000)), /exceeds (\d+) bytes or (\d+) attributes/);
	t.true(
		table.includes(
			`${Number(value) / 1024} KiB per value, ${Number(list) / 1024 / 1024} MiB and ${count} attributes in all`,
		),
	);
});

/** The values of the numeric constants in a source. */
const constantsOf = (path: string): readonly number[] =>
	matches(read(path), /^(?:export )?const [A-Z_]+[^=\n]*= ([\d_.]+)\b/gm).map(value =>
		Number(value.replaceAll('_', '')),
	);

/* A number in a document, and the source that defines a constant with this value. */
const constants: ReadonlyArray<readonly [document: string, pattern: RegExp, path: string, unit?: number]> = [
	['doc/internals.md', /`Lru` \((\d+) for the client role/, 'src/roles/client-role.ts'],
	['doc/internals.md', /, (\d+) for the server role\)/, 'src/roles/server-role.ts'],
	['doc/internals.md', /are stored in the process \((\d+) keys/, 'src/roles/client-role-sessions.ts'],
	['doc/internals.md', /up to (\d+) tickets each/, 'src/tls/resume/session-cache.ts'],
	['doc/internals.md', /At most (\d+) sessions of one connection/, 'src/tls/resume/client-resumption.ts'],
	['doc/internals.md', /fewer than (\d+) spare descriptors/, 'src/master/listener.ts'],
	['doc/internals.md', /busy for more than (\d+) percent/, 'src/master/load.ts', 0.01],
	['doc/internals.md', /of a (\d+) ms window/, 'src/master/load.ts'],
	['doc/internals.md', /available below (\d+) percent/, 'src/master/load.ts', 0.01],
	['doc/internals.md', /waiting connections to other processes for (\d+) ms/, 'src/event/reactor.ts'],
	['doc/internals.md', /An iteration ends after (\d+) ms/, 'src/event/reactor.ts'],
	['doc/internals.md', /served between them after ([\d.]+) ms/, 'src/event/reactor.ts'],
	['doc/internals.md', /reply within (\d+) s, this process stores/, 'src/tlsmgr/tlsmgr-client.ts', 1000],
	['doc/internals.md', /At most (\d+) requests wait for tlsmgr/, 'src/tlsmgr/tlsmgr-client.ts'],
	['doc/internals.md', /larger than (\d+) KiB\)/, 'src/tlsmgr/message.ts', 1024],
	['doc/internals.md', /a single timer checks every (\d+) ms/, 'src/event/deadline.ts'],
	['doc/internals.md', /The lookup succeeds within (\d+) s\./, 'src/tlsmgr/tlsmgr-client.ts', 1000],
	['doc/internals.md', /not contacted for (\d+) to 60 s/, 'src/tlsmgr/tlsmgr-client.ts', 1000],
	['doc/internals.md', /not contacted for 1 to (\d+) s/, 'src/tlsmgr/tlsmgr-client.ts', 1000],
	[
		'doc/internals.md',
		/TLS sessions in tlsmgr\(8\), for (\d+) s at most/,
		'src/tlsmgr/update-queue.ts',
		1000,
	],
	['doc/internals.md', /supervisor (\d+) s after the last change/, 'src/roles/credential-watch.ts', 1000],
	['doc/internals.md', /^- (\d+) s after the start, garbage/m, 'src/tlsproxy.ts', 1000],
	['doc/decisions/process-pool.md', /busy for more than (\d+) percent/, 'src/master/load.ts', 0.01],
	['doc/decisions/process-pool.md', /window of (\d+) ms/, 'src/master/load.ts'],
	['doc/decisions/process-pool.md', /(\d+) ms while it is busy/, 'src/event/reactor.ts'],
	['doc/decisions/sessions-are-copies.md', /limited to (\d+) keys/, 'src/roles/client-role-sessions.ts'],
	[
		'doc/decisions/settings-are-applied.md',
		/\((\d+) SSL_CTX for the client role/,
		'src/roles/client-role.ts',
	],
	['doc/decisions/settings-are-applied.md', /, (\d+) for the server role\)/, 'src/roles/server-role.ts'],
];

for (const [document, pattern, path, unit = 1] of constants) {
	test(`${document}: ${String(pattern)} is a constant of ${path}`, t => {
		const [number] = groups(text[document] ?? '', pattern);
		const values = constantsOf(path);
		t.true(values.length > 0);
		t.true(
			values.some(value => Math.abs(value - Number(number) * unit) < 1e-9),
			`${number}: ${values.join(', ')}`,
		);
	});
}

test('time limits in doc/internals.md and doc/debugging.md are those of the program', t => {
	const internals = text['doc/internals.md'] ?? '';
	const debugging = text['doc/debugging.md'] ?? '';
	const features = releaseFeatures('3.7.11');
	const [greeting, request] = [greetingTimeout(features) / 1000, REQUEST_TIMEOUT / 1000];
	t.deepEqual(
		groups(internals, /: (\d+) s for a client that sends nothing and for the descriptor, (\d+) s/),
		[String(greeting), String(request)],
	);
	t.deepEqual(groups(internals, /session time limit of the request plus (\d+) s/), [
		String(sessionTimeout(undefined) / 1000),
	]);
	t.deepEqual(groups(debugging, /the local client: (\d+) s after the first byte, otherwise (\d+) s/), [
		String(request),
		String(greeting),
	]);
	const [alarm = ''] = groups(read('src/boot/launch.pl'), /^alarm (\d+);/m);
	t.true(internals.includes(`alarm of ${alarm} s`));
	t.true(debugging.includes(`a start of more than ${alarm} s`));
	t.is(Number(watchdogStep(9 as Seconds)), 3000);
	t.true(internals.includes('every third of `tlsproxy_watchdog_timeout`'));
	const [buffers] = groups(read('src/proxy/pump.ts'), /^const RUN_LIMIT = (\d+) \* BUFFER_SIZE;/m);
	t.deepEqual(groups(internals, /moves at most (\d+) KiB per direction and call/), [
		String((Number(buffers) * BUFFER_SIZE) / 1024),
	]);
	t.deepEqual(groups(internals, /^- one (\d+) KiB buffer serves/m), [String(BUFFER_SIZE / 1024)]);
});

test('man/tlsproxy.8 and the decision about the lifetime of a process have the idle time after max_use', t => {
	const [seconds] = groups(read('src/master/event-server.ts'), /^const USED_UP_IDLE_LIMIT = (\d+);/m);
	t.is(seconds, '5');
	t.regex(manual, /after which the process terminates, as soon\nas it has had no session for five seconds/);
	t.regex(text['doc/decisions/process-lifetime.md'] ?? '', /had no session for five seconds/);
});

test('minimum versions in INSTALL.md are those of the program and of the package', t => {
	const install = text['INSTALL.md'] ?? '';
	const [oldest = ''] = groups(install, /^- Postfix (\d+\.\d+) or later/m);
	const [major = '', minor = ''] = oldest.split('.');
	t.notThrows(() => releaseFeatures(`${oldest}.0`));
	t.throws(() => releaseFeatures(`${major}.${Number(minor) - 1}.99`));
	const [libc] = groups(install, /GNU C library (\d+\.\d+) or later/);
	const debian = read('postfix/lib/package.ts');
	t.true(debian.includes(`'postfix (>= ${oldest})'`));
	t.true(debian.includes(`'libc6 (>= ${libc})'`));
	t.true(read('postfix/tlsproxy.main.cf').includes(`Requires Postfix ${oldest} or later`));
	const [node] = groups(install, /^- To build: Node\.js (\d+) or later/m);
	t.true(read('postfix/prepare').includes(`install Node.js ${node} or later with npm`));
	t.regex(read('postfix/build'), /arch=x64[\s\S]*arch=arm64/);
	t.true(install.includes('Linux on x86-64 or arm64'));
	t.true(install.includes('1.1.1 or 3.x'));
	t.deepEqual(
		matches(
			groups(read('src/ffi/openssl/binding.ts'), /const suffixes = \[(.*)\]/)[0] ?? '',
			/'\.so\.([\d.]+)'/g,
		),
		['3', '1.1'],
	);
});

test('the runtime in CONTRIBUTING.md is that of package.json', t => {
	const {optionalDependencies} = JSON.parse(read('package.json')) as {
		readonly optionalDependencies: Readonly<Record<string, string>>;
	};
	const [version] = groups(text['CONTRIBUTING.md'] ?? '', /runs on the Node\.js (\d+) that/);
	for (const value of Object.values(optionalDependencies)) {
		t.is(value.split('.')[0], version);
	}
});

test('Debian releases in the documents are those of the matrix', t => {
	const [suites = ''] = groups(read('test/releases/run'), /for suite in ([a-z ]+); do/);
	t.deepEqual(
		matches(groups(text['CONTRIBUTING.md'] ?? '', /The releases are (.*)\./)[0] ?? '', /`(\w+)`/g),
		suites.split(' '),
	);
	/* Their numbers, in the same order. */
	const numbers: Readonly<Record<string, string>> = {
		bullseye: '11',
		bookworm: '12',
		trixie: '13',
		forky: 'testing',
	};
	const releases = suites.split(' ').map(suite => numbers[suite] ?? suite);
	const [readme = ''] = groups(text['README.md'] ?? '', /on Debian ([\w, ]*) \(Postfix/);
	t.deepEqual(readme.split(/, | and /), releases);
	const [tested = ''] = groups(text['INSTALL.md'] ?? '', /releases of Debian ([^\n]*)\.$/m);
	t.deepEqual(matches(tested, /(\w+) \(/g), releases);
	const [postfix = ''] = groups(text['README.md'] ?? '', /\(Postfix ([\d., and]+);/);
	t.deepEqual(matches(tested, /\(([\d.]+)\)/g), postfix.split(/, | and /));
});
