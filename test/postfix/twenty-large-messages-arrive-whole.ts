/*
 * Twenty attachments of 100 megabytes at a time must arrive unchanged, and the memory of the
 * process must not grow with them.
 */
import {createHash, randomBytes} from 'node:crypto';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {inject, type Outgoing} from '../../postfix/lib/inject.ts';
import {residentSize} from '../helpers/processes.ts';
import {SenderAndSink} from '../helpers/sender-and-sink.ts';

const COUNT = 20;
const SIZE = 100_000_000;
/** In bytes. The process has 75 MB without a session, and a session has two buffers of 64 kilobytes. */
const MEMORY_LIMIT = 128 * 1024 * 1024;

/* Lines of 76 characters, like an attachment. */
const attachment = Buffer.from(
	randomBytes(1_140_000).toString('base64').replaceAll(/.{76}/g, '$&\n'),
	'latin1',
);

function bodyOf(index: number): Buffer {
	const first = Buffer.from(`attachment ${index}\n`);
	return Buffer.concat([
		first,
		...Array.from({length: Math.ceil(SIZE / attachment.length)}, () => attachment),
	]);
}

function* large(): Iterable<Outgoing> {
	for (let index = 0; index < COUNT; index++) {
		yield {
			from: 'sender@sandbox.example',
			to: `u${index}@large.example`,
			text: Buffer.concat([Buffer.from(`Subject: message ${index}\n\n`), bodyOf(index)]),
		};
	}
}

/* SMTP ends lines in CR and LF. */
function digestOf(body: Buffer): string {
	return createHash('sha256').update(body.toString('latin1').replaceAll('\n', '\r\n')).digest('hex');
}

test.serial('20 messages of 100 MB, all at a time, arrive unchanged', async t => {
	await using pair = await SenderAndSink.start({
		processLimit: 1,
		main: {
			defer_transports: 'smtp',
			initial_destination_concurrency: String(COUNT),
			smtp_destination_concurrency_limit: String(COUNT),
		},
	});
	const {sandbox, sink} = pair;
	await inject(sandbox.submissionPort, large(), 1);
	await sandbox.postconf('defer_transports', '');
	await sandbox.reload();
	await sandbox.flush();
	let peak = 0;
	const arrived = await sandbox.waitFor(async () => {
		for (const pid of sandbox.tlsproxyWorkers()) {
			peak = Math.max(peak, residentSize(pid));
		}

		await delay(50);
		return (await sink.counts()).encryptedMessages >= COUNT;
	}, 400_000);
	t.true(arrived, await sandbox.log());
	const report = await sink.report();
	t.is(report.clearMessages, 0);
	t.is(report.handshakes, COUNT);
	const digests = new Map(report.messages.map(({to, bodySha256}) => [to[0], bodySha256]));
	for (let index = 0; index < COUNT; index++) {
		t.is(digests.get(`u${index}@large.example`), digestOf(bodyOf(index)));
	}

	t.log(`at most ${Math.round(peak / 1024)} kB of memory`);
	t.true(peak < MEMORY_LIMIT);
});
