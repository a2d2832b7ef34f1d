/*
 * When a worker is killed during delivery, mail at level encrypt is deferred and delivered
 * later, and never sent in cleartext.
 */
import test from 'ava';
import {inject} from '../../postfix/lib/inject.ts';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

test.serial('after SIGKILL during 500 deliveries all messages arrive, none in cleartext', async t => {
	await using pair = await SenderAndSink.start(
		{main: {minimal_backoff_time: '1s', maximal_backoff_time: '2s'}},
		{delay: 20},
	);
	const all = messages(500);
	const submitted = inject(pair.sandbox.submissionPort, all, 20);
	t.true(await pair.sandbox.waitFor(async () => (await pair.sink.counts()).encryptedMessages > 50));
	const [worker] = pair.sandbox.tlsproxyWorkers();
	t.truthy(worker);
	if (worker !== undefined) {
		process.kill(worker, 'SIGKILL');
	}

	await submitted;
	t.true(
		await pair.sandbox.waitFor(async () => {
			await pair.sandbox.flush();
			return await pair.arrived(500, 1000);
		}, 200_000),
		await pair.sandbox.log(),
	);

	/* A message may arrive twice, as with any connection that is lost after the final dot. */
	const report = await pair.sink.report();
	t.is(report.clearMessages, 0);
	const recipients = new Set(report.messages.flatMap(({to}) => to));
	t.is(recipients.size, 500);
	t.false(pair.sandbox.tlsproxyWorkers().includes(worker ?? 0));
	const exits = await pair.sandbox.logLines(/process .*tlsproxy pid \d+ exit status 1/);
	t.is(exits.length, 1);
	t.deepEqual(await pair.sandbox.logLines(/throttling|panic|fatal/), []);
});
