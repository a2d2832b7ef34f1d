/* Manual pages: that they are those of the sources, that groff accepts them, and that none of stock's parameters is missing. */
import {spawnSync} from 'node:child_process';
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {manualPage, pageFrom, sources} from '../man/generate.ts';
import {parameterNames} from '../src/conf/parameters.ts';
import {serviceArgumentNames} from '../src/conf/service-arguments.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

for (const [file, source] of sources) {
	test(`man/${file} is what man/generate.ts makes of ${source}`, t => {
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

test('manualPage keeps lines of a synopsis apart, and gives commands the names that they are installed under', t => {
	const source = `/*++
/* NAME
/*	install 1
/* SUMMARY
/*	put it there
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
put it there
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
 * What stock's page lists, of all releases from 3.4 on: its own parameters, those of
 * the TLS library, and what its section MISCELLANEOUS CONTROLS has.
 */
const stock = JSON.parse(read('test/fixtures/stock-parameters.json')) as readonly string[];

function described(page: string): readonly string[] {
	return [...page.matchAll(/^\.IP "\\fB(\w+) \(/gm)].map(([, name = '']) => name);
}

test('man/tlsproxy.8 has every parameter of stock, once', t => {
	const names = described(read('man/tlsproxy.8'));
	t.deepEqual(
		stock.filter(name => !names.includes(name)),
		[],
	);
	t.is(new Set(names).size, names.length);
});

test('man/tlsproxy.8 has every parameter of its own and of the TLS library that this program reads', t => {
	const names = described(read('man/tlsproxy.8'));
	t.deepEqual(
		parameterNames.filter(name => /^tls(proxy|mgr)?_/.test(name) && !names.includes(name)),
		[],
	);
});

test('man/tlsproxy.8 has every word of ours, and says of each parameter what it does', t => {
	const page = read('man/tlsproxy.8');
	t.deepEqual(
		serviceArgumentNames.filter(name => !described(page).includes(name)),
		[],
	);
	/* Items that stand together have one text, below the last. */
	for (const group of page.matchAll(/(?:^\.IP .*\n)+(.*)/gm)) {
		t.notRegex(group[1] ?? '', /^(\.SH|$)/, group[0]);
	}
});

/* Where Postfix brings its page: the one of this machine's release, too. */
const installed = ['/usr/share/man/man8/tlsproxy.8postfix.gz', '/usr/share/man/man8/tlsproxy.8.gz'].find(
	path => existsSync(path),
);

test(`man/tlsproxy.8 has what stock's own page ${installed === undefined ? 'would have' : 'has'}`, t => {
	const page =
		installed === undefined ? read('man/tlsproxy.8') : gunzipSync(readFileSync(installed)).toString();
	const names = described(read('man/tlsproxy.8'));
	const theirs = described(page);
	t.true(theirs.length > 40);
	t.deepEqual(
		theirs.filter(name => !names.includes(name)),
		[],
	);
});
