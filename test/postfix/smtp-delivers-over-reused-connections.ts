/* The main purpose of the program: mail is delivered over reused TLS connections. */
import test from 'ava';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

test.serial(
	'smtp(8) delivers 200 messages in 20 streams, encrypted, over at most 30 TLS connections',
	async t => {
		await using pair = await SenderAndSink.start();
		t.true(await pair.deliver(messages(200), 20), await pair.sandbox.log());
		const counts = await pair.sink.counts();
		t.is(counts.encryptedMessages, 200);
		t.is(counts.clearMessages, 0);
		t.is(counts.failedHandshakes, 0);
		t.true(counts.handshakes <= 30, `${counts.handshakes} handshakes`);
		const sent = await pair.sandbox.logLines(/postfix\/smtp\[\d+\]: .* status=sent/);
		t.is(sent.length, 200);
		const problems = await pair.sandbox.logLines(/(smtp|tlsproxy|master)\[.*(warning|error|fatal|panic)/);
		t.true(
			problems.every(line => line.includes('TLS server role is disabled')),
			problems.join('\n'),
		);
	},
);

test.serial('without smtp_tls_connection_reuse the same 200 messages take 200 handshakes', async t => {
	await using pair = await SenderAndSink.start({main: {smtp_tls_connection_reuse: 'no'}});
	t.true(await pair.deliver(messages(200), 20), await pair.sandbox.log());
	const counts = await pair.sink.counts();
	t.is(counts.encryptedMessages, 200);
	t.is(counts.handshakes, 200);
	t.deepEqual(await pair.proxyLines(), []);
});
