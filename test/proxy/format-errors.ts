import {spawnSync} from 'node:child_process';
import test from 'ava';
import {FormatErrors} from '../../src/proxy/format-errors.ts';
import {collectLog} from '../helpers/openssl.ts';

const unknown = {known: false, format: '3.12', release: '3.99.0'} as const;
const line =
	'Postfix 3.99.0 does not use the protocol of Postfix 3.12, the newest release that this program supports: install a newer version of this program';

test.serial('log warns when the installed release is known', t => {
	const log = collectLog();
	const errors = new FormatErrors({known: true, format: '3.6.10', release: '3.7.11'});
	errors.log();
	errors.parsed();
	errors.log();
	const expected =
		'warning: the client does not use the protocol of Postfix 3.7.11, which is the installed release according to mail_version: after an upgrade, run "postfix reload"';
	t.deepEqual(log, [expected, expected]);
});

test.serial('log warns when the installed release is unknown, but other requests were parsed', t => {
	const log = collectLog();
	const errors = new FormatErrors(unknown);
	errors.parsed();
	errors.log();
	t.deepEqual(log, [`warning: ${line}`]);
});

const url = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

test('log is fatal when the installed release is unknown and no request was parsed', t => {
	const program = `
		import {openLog} from ${url('log/log.ts')};
		import {FormatErrors} from ${url('proxy/format-errors.ts')};
		openLog({send: (severity, label, text) => console.log(label + text)});
		new FormatErrors(${JSON.stringify(unknown)}).log();
		console.log('still running');
	`;
	const {stdout, status, stderr} = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
		encoding: 'utf8',
	});
	t.is(stdout, `fatal: ${line}\n`, stderr);
	t.is(status, 1);
});
