/* Debian's master.cf runs services in a chroot jail, other systems do not. Both must work, without privileges. */
import {readFileSync, readlinkSync} from 'node:fs';
import test from 'ava';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

for (const chroot of ['y', 'n'] as const) {
	test.serial(`with chroot column ${chroot} mail is delivered by a process without privileges`, async t => {
		await using pair = await SenderAndSink.start({chroot});
		t.true(await pair.deliver(messages(10), 2), await pair.sandbox.log());
		t.is((await pair.sink.counts()).encryptedMessages, 10);
		const [worker] = pair.sandbox.tlsproxyWorkers();
		t.truthy(worker);
		const status = readFileSync(`/proc/${worker}/status`, 'utf8');
		const uid = /^postfix:[^:]*:(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[1];
		t.truthy(uid);
		t.regex(status, new RegExp(`^Uid:\\t${uid}\\t${uid}\\t${uid}\\t${uid}$`, 'm'));
		t.regex(status, /^NoNewPrivs:\t1$/m);
		t.regex(status, /^CapEff:\t0+$/m);
		t.is(readlinkSync(`/proc/${worker}/root`), chroot === 'y' ? pair.sandbox.queueDirectory : '/');
	});
}
