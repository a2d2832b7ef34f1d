/*
 * When a worker is killed during delivery, mail at level encrypt is deferred and delivered
 * later, and never sent in cleartext. master(8) never throttles the service.
 */
import {setTimeout as delay} from 'node:timers/promises';
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
	t.is((await pair.sandbox.logLines(/process .*tlsproxy pid \d+ killed by signal 9$/)).length, 1);
	t.deepEqual(await pair.sandbox.logLines(/throttling|panic|fatal/), []);
});

test.serial('after thirty SIGKILLs during 600 deliveries all messages arrive, none in cleartext', async t => {
	await using pair = await SenderAndSink.start(
		{processLimit: 1, main: {minimal_backoff_time: '1s', maximal_backoff_time: '2s'}},
		{delay: 20},
	);
	const {sandbox} = pair;
	const start = performance.now();
	t.true(await pair.deliver(messages(1), 1));
	/* More than the time that a worker needs to start. */
	const interval = performance.now() - start;
	const submitted: Array<Promise<void>> = [];
	let killed = 0;
	for (let round = 0; round < 30; round++) {
		const outgoing = messages(20, index => `u${round}.${index}@reuse.example`);
		submitted.push(inject(sandbox.submissionPort, outgoing, 5));
		await sandbox.flush();
		await delay(interval);
		for (const worker of sandbox.tlsproxyWorkers()) {
			process.kill(worker, 'SIGKILL');
			killed++;
		}
	}

	await Promise.all(submitted);
	t.true(
		await sandbox.waitFor(async () => {
			await sandbox.flush();
			return await pair.arrived(601, 1000);
		}, 200_000),
		await sandbox.log(),
	);
	const report = await pair.sink.report();
	t.is(report.clearMessages, 0);
	t.is(new Set(report.messages.flatMap(({to}) => to)).size, 601);
	t.log(`${killed} workers killed, one in ${Math.round(interval)} ms`);
	t.true(killed > 0);
	/* Logged after the replacement was started. */
	const logged = async (): Promise<number> =>
		(await sandbox.logLines(/process .*tlsproxy pid \d+ killed by signal 9$/)).length;
	t.true(await sandbox.waitFor(async () => (await logged()) === killed));
	t.deepEqual(await sandbox.logLines(/throttling|panic|fatal/), []);
});
