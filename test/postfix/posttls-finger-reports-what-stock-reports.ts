/* posttls-finger(1) with -X prints a summary of the report, which must be the same as with stock. */

import test from 'ava';
import {execa} from 'execa';
import type {Program} from '../helpers/daemon.ts';
import {SenderAndSink} from '../helpers/sender-and-sink.ts';

async function summaryLine(tlsproxy: Program, args: string): Promise<string> {
	await using pair = await SenderAndSink.start({tlsproxy});
	const values = new Map([
		['CA', pair.certificates.caFile],
		['SINK', `[127.0.0.1]:${pair.sink.port}`],
	]);
	const options = args.split(' ').map(arg => values.get(arg) ?? arg);
	const {all} = await execa('posttls-finger', ['-X', '-c', '-L', 'summary', ...options], {
		env: {MAIL_CONFIG: pair.sandbox.configDirectory},
		all: true,
		reject: false,
		stdin: 'ignore',
	});
	const line = all.split('\n').find(text => text.includes('TLS connection established'));
	return (line ?? all).replaceAll(String(pair.sink.port), 'PORT');
}

/* Arguments, with CA for the CA file and SINK for the address of the sink. */
const cases: Readonly<Record<string, string>> = {
	'-l encrypt': '-l encrypt SINK',
	'-l may': '-l may SINK',
	'-l encrypt with a trusted CA': '-l encrypt -F CA SINK',
	'-l verify with the right name': '-l verify -F CA SINK sink.example',
	'-l verify with a wrong name': '-l verify -F CA SINK other.example',
	'-l secure with a trust anchor and the right name': '-l secure -A CA SINK sink.example',
	'-l secure with a trust anchor and a wrong name': '-l secure -A CA SINK other.example',
	'-l fingerprint with a wrong fingerprint': `-l fingerprint -d sha256 SINK ${'00:'.repeat(31)}00`,
};

for (const [name, args] of Object.entries(cases)) {
	test.serial(`posttls-finger -X ${name} reports the same as with stock`, async t => {
		const stock = await summaryLine('stock', args);
		t.regex(stock, /TLS connection established to/);
		t.is(await summaryLine('ours', args), stock);
	});
}
