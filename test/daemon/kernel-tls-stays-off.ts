/*
 * openssl.cnf can turn on kernel TLS for all programs of a host. It must stay off here: a
 * worker may not make the system calls for it, and the results of reads would differ.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {completeSession, RemoteListener, serverRoleParameters} from '../helpers/remote-clients.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {});

const OPENSSL_CNF = `openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = default
[default]
Options = KTLS
`;

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock', {
		main: {
			...serverRoleParameters(store.path('server.key'), store.path('server.cert')),
			tls_ssl_options: '0x8',
		},
	});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

test('openssl.cnf and tls_ssl_options turn kernel TLS on: sessions of both roles are served, and the worker lives', async t => {
	const file = join(daemon.sandbox.directory, 'openssl.cnf');
	writeFileSync(file, OPENSSL_CNF);
	const script = 'mount --bind "$0" "$(readlink -f /usr/lib/ssl/openssl.cnf)" && exec "$@"';
	const service = new Service(t, daemon, 'ours', ['unshare', '--mount', 'sh', '-c', script, file]);
	const started = service.start();
	const port = await echoPeer(t);
	const params = {tls_ssl_options: '0x8'};
	for (const version of ['>=TLSv1.3', '<=TLSv1.2']) {
		const options = {params, start: {protocols: version}};
		const {client, report} = await daemon.handOff(t, port, options, service.name);
		t.truthy(report, await daemon.sandbox.log());
		t.true(await echoes(client, 'x'.repeat(100_000)));
		await endSession(client);
	}

	const door = await RemoteListener.open(t, daemon, service.name);
	await completeSession(t, await door.visit('[192.0.2.1]:25'));
	t.true(started.lives);
	t.is(started.workers().length, 1);
});
