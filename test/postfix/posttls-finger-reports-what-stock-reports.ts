/* posttls-finger(1) with -X writes its summary from our report; with stock's it has to be the same line. */

import test from 'ava';
import {execa} from 'execa';
import {Pair} from '../helpers/postfix.ts';

async function summaryLine(
	tlsproxy: 'ours' | 'stock',
	args: (pair: Pair) => readonly string[],
): Promise<string> {
	await using pair = await Pair.start({tlsproxy});
	const {all} = await execa('posttls-finger', ['-X', '-c', '-L', 'summary', ...args(pair)], {
		env: {MAIL_CONFIG: pair.sandbox.configDirectory},
		all: true,
		reject: false,
		stdin: 'ignore',
	});
	const line = all.split('\n').find(text => text.includes('TLS connection established'));
	return (line ?? all).replaceAll(String(pair.sink.port), 'PORT');
}

const cases: Readonly<Record<string, (pair: Pair) => readonly string[]>> = {
	'-l encrypt': ({sink}) => ['-l', 'encrypt', `[127.0.0.1]:${sink.port}`],
	'-l may': ({sink}) => ['-l', 'may', `[127.0.0.1]:${sink.port}`],
	'-l encrypt with a trusted CA': ({sink, certificates}) => [
		'-l',
		'encrypt',
		'-F',
		certificates.caFile,
		`[127.0.0.1]:${sink.port}`,
	],
	'-l verify with the right name': ({sink, certificates}) => [
		'-l',
		'verify',
		'-F',
		certificates.caFile,
		`[127.0.0.1]:${sink.port}`,
		'sink.example',
	],
	'-l verify with a wrong name': ({sink, certificates}) => [
		'-l',
		'verify',
		'-F',
		certificates.caFile,
		`[127.0.0.1]:${sink.port}`,
		'other.example',
	],
	'-l secure with a trust anchor and the right name': ({sink, certificates}) => [
		'-l',
		'secure',
		'-A',
		certificates.caFile,
		`[127.0.0.1]:${sink.port}`,
		'sink.example',
	],
	'-l secure with a trust anchor and a wrong name': ({sink, certificates}) => [
		'-l',
		'secure',
		'-A',
		certificates.caFile,
		`[127.0.0.1]:${sink.port}`,
		'other.example',
	],
	'-l fingerprint with a wrong fingerprint': ({sink}) => [
		'-l',
		'fingerprint',
		'-d',
		'sha256',
		`[127.0.0.1]:${sink.port}`,
		Array.from({length: 32}, () => '00').join(':'),
	],
};

for (const [name, args] of Object.entries(cases)) {
	test.serial(`posttls-finger -X ${name} reports the same as with stock`, async t => {
		const stock = await summaryLine('stock', args);
		t.regex(stock, /TLS connection established to/);
		t.is(await summaryLine('ours', args), stock);
	});
}
