/* The manual pages are generated from the sources, groff accepts them, and they list every parameter of stock tlsproxy(8). */
import {spawnSync} from 'node:child_process';
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {manualPage, pageFrom, sources} from '../man/generate.ts';
import {parameterNames} from '../src/conf/parameters.ts';
import {serviceArgumentNames} from '../src/conf/service-arguments.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

for (const [file, source] of sources) {
	test(`man/${file} is the output of man/generate.ts for ${source}`, t => {
		t.is(read(`man/${file}`), pageFrom(file, read(source)));
	});

	test(`man/${file} is accepted by groff`, t => {
		const {status, stdout, stderr} = spawnSync('groff', ['-man', '-ww', '-Tascii', '-P-cbou'], {
			input: read(`man/${file}`),
			encoding: 'utf8',
		});
		t.is(status, 0);
		t.is(stderr, '');
		t.true(stdout.includes('DESCRIPTION'));
	});
}

test('every page in man/ comes from a source', t => {
	const url = new URL('../man/', import.meta.url);
	t.deepEqual(
		readdirSync(url).filter(name => /\.\d$/.test(name)),
		[...sources.keys()].toSorted(),
	);
});

test('manualPage does not join the lines of a synopsis, and uses the installed names of commands', t => {
	const source = `/*++
/* NAME
/*	install 1
/* SUMMARY
/*	copy the program
/* SYNOPSIS
/*	install -a
/*	install -c dir
/* DESCRIPTION
/*	To install, see uninstall(1).
/*--*/
`;
	t.is(
		manualPage(source, 'postfix-tlsproxy-install'),
		`.TH POSTFIX-TLSPROXY-INSTALL 1
.ad
.fi
.SH NAME
postfix-tlsproxy-install
\\-
copy the program
.SH "SYNOPSIS"
.na
.nf
postfix\\-tlsproxy\\-install \\-a
postfix\\-tlsproxy\\-install \\-c dir
.SH "DESCRIPTION"
.ad
.fi
To install, see postfix\\-tlsproxy\\-uninstall(1).
`,
	);
});

/*
 * The parameters that the manual page of stock tlsproxy(8) lists in any release from
 * 3.4 on.
 */
const stock = JSON.parse(read('test/fixtures/stock-parameters.json')) as readonly string[];

function described(page: string): readonly string[] {
	return [...page.matchAll(/^\.IP "\\fB(\w+) \(/gm)].map(([, name = '']) => name);
}

test('man/tlsproxy.8 lists every parameter of stock tlsproxy(8) once', t => {
	const names = described(read('man/tlsproxy.8'));
	t.deepEqual(
		stock.filter(name => !names.includes(name)),
		[],
	);
	t.is(new Set(names).size, names.length);
});

test('man/tlsproxy.8 lists every tlsproxy_*, tls_* and tlsmgr_* parameter that this program reads', t => {
	const names = described(read('man/tlsproxy.8'));
	t.deepEqual(
		parameterNames.filter(name => /^tls(proxy|mgr)?_/.test(name) && !names.includes(name)),
		[],
	);
});

test('man/tlsproxy.8 lists every service argument, and describes each item', t => {
	const page = read('man/tlsproxy.8');
	t.deepEqual(
		serviceArgumentNames.filter(name => !described(page).includes(name)),
		[],
	);
	/* Adjacent items share one description, which follows the last of them. */
	for (const group of page.matchAll(/(?:^\.IP .*\n)+(.*)/gm)) {
		t.notRegex(group[1] ?? '', /^(\.SH|$)/, group[0]);
	}
});

/* The page of the installed release. A host without it has the list above. */
const installed = ['/usr/share/man/man8/tlsproxy.8postfix.gz', '/usr/share/man/man8/tlsproxy.8.gz'].find(
	path => existsSync(path),
);

if (installed !== undefined) {
	test('man/tlsproxy.8 lists every parameter of the installed tlsproxy(8) page', t => {
		const names = described(read('man/tlsproxy.8'));
		const expected = described(gunzipSync(readFileSync(installed)).toString());
		t.true(expected.length > 40);
		t.deepEqual(
			expected.filter(name => !names.includes(name)),
			[],
		);
	});
}
