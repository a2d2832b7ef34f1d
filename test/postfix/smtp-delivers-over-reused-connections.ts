/*
 * What the program is for. If this breaks, connection reuse gains nothing, or
 * worse: mail is deferred, or sent in cleartext.
 */
import test from 'ava';
import {messages, Pair} from '../helpers/postfix.ts';

test.serial(
	'smtp(8) delivers 200 messages in 20 streams, encrypted, over at most 30 TLS connections',
	async t => {
		await using pair = await Pair.start();
		t.true(await pair.deliver(messages(200), 20), await pair.sandbox.log());
		const counts = await pair.sink.counts();
		t.is(counts.encryptedMessages, 200);
		t.is(counts.clearMessages, 0);
		t.is(counts.failedHandshakes, 0);
		t.true(counts.handshakes <= 30, `${counts.handshakes} handshakes`);
		const sent = await pair.sandbox.logLines(/postfix\/smtp\[\d+\]: .* status=sent/);
		t.is(sent.length, 200);
		const trouble = await pair.sandbox.logLines(/(smtp|tlsproxy|master)\[.*(warning|error|fatal|panic)/);
		t.true(
			trouble.every(line => line.includes('TLS server role is disabled')),
			trouble.join('\n'),
		);
	},
);

test.serial('without smtp_tls_connection_reuse the same 200 messages take 200 handshakes', async t => {
	await using pair = await Pair.start({main: {smtp_tls_connection_reuse: 'no'}});
	t.true(await pair.deliver(messages(200), 20), await pair.sandbox.log());
	const counts = await pair.sink.counts();
	t.is(counts.encryptedMessages, 200);
	t.is(counts.handshakes, 200);
	t.deepEqual(await pair.proxyLines(), []);
});
