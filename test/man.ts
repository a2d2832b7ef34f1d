/* Manual pages: that they are those of the sources, that groff accepts them, and that none of stock's parameters is missing. */
import {spawnSync} from 'node:child_process';
import {readdirSync, readFileSync} from 'node:fs';
import test from 'ava';
import {manualPage, pageFrom, sources} from '../man/generate.ts';

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
