/*
 * An SMTP connection cache must never send mail of one policy over a connection that was
 * made under another policy. The test observes connections on the server's side.
 */
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

async function table(pair: SenderAndSink, name: string, text: string): Promise<string> {
	const path = join(pair.sandbox.configDirectory, name);
	await writeFile(path, text, {mode: 0o600});
	await execa('postmap', ['-c', pair.sandbox.configDirectory, `hash:${path}`]);
	return `hash:${path}`;
}

/* For each connection, the domains of the recipients whose mail it carried. */
async function domainsByConnection(pair: SenderAndSink): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
	const {messages: arrived} = await pair.sink.report();
	const result = new Map<number, Set<string>>();
	for (const {connection, to} of arrived) {
		const domains = result.get(connection) ?? new Set();
		for (const recipient of to) {
			domains.add(recipient.split('@')[1] ?? '');
		}

		result.set(connection, domains);
	}

	return result;
}

test.serial(
	'two destinations on one server with different TLS policies never share a connection',
	async t => {
		await using pair = await SenderAndSink.start();
		await pair.sandbox.postconf(
			'transport_maps',
			await table(
				pair,
				'transport',
				`one.example smtp:[127.0.0.1]:${pair.sink.port}\ntwo.example smtp:[localhost]:${pair.sink.port}\n`,
			),
		);
		await pair.sandbox.postconf('smtp_host_lookup', 'native');
		await pair.sandbox.postconf(
			'smtp_tls_policy_maps',
			await table(
				pair,
				'policy',
				`[127.0.0.1]:${pair.sink.port} encrypt\n[localhost]:${pair.sink.port} may protocols=TLSv1.2\n`,
			),
		);
		await pair.sandbox.reload();
		t.true(
			await pair.deliver(
				messages(100, index => `u${index}@${index % 2 === 0 ? 'one' : 'two'}.example`),
				10,
			),
			await pair.sandbox.log(),
		);
		const report = await pair.sink.report();
		t.is(report.encryptedMessages, 100);
		const byConnection = await domainsByConnection(pair);
		t.true(byConnection.size < 100, 'no connection was reused');
		for (const [connection, domains] of byConnection) {
			t.is(domains.size, 1, `connection ${connection} carried ${[...domains].join(' and ')}`);
			const protocol = report.connections[connection]?.protocol;
			t.is(protocol, domains.has('two.example') ? 'TLSv1.2' : 'TLSv1.3');
		}
	},
);

test.serial('mail with SASL credentials and mail without never share a connection', async t => {
	await using pair = await SenderAndSink.start({}, {auth: ['PLAIN']});
	const port = pair.sink.port;
	await pair.sandbox.postconf(
		'transport_maps',
		await table(
			pair,
			'transport',
			`one.example smtp:[127.0.0.1]:${port}\ntwo.example smtp:[localhost]:${port}\n`,
		),
	);
	await pair.sandbox.postconf('smtp_host_lookup', 'native');
	await pair.sandbox.postconf('smtp_sasl_auth_enable', 'yes');
	await pair.sandbox.postconf('smtp_sasl_security_options', 'noanonymous');
	await pair.sandbox.postconf(
		'smtp_sasl_password_maps',
		await table(pair, 'sasl', `[127.0.0.1]:${port} user:secret\n`),
	);
	await pair.sandbox.reload();
	t.true(
		await pair.deliver(
			messages(60, index => `u${index}@${index % 2 === 0 ? 'one' : 'two'}.example`),
			10,
		),
		await pair.sandbox.log(),
	);
	const report = await pair.sink.report();
	t.is(report.encryptedMessages, 60);
	for (const message of report.messages) {
		const authenticated = message.to[0]?.endsWith('@one.example') === true;
		t.is(message.user, authenticated ? 'user' : '');
	}

	const byConnection = await domainsByConnection(pair);
	t.true(byConnection.size < 60, 'no connection was reused');
	for (const [connection, domains] of byConnection) {
		t.is(domains.size, 1, `connection ${connection} carried ${[...domains].join(' and ')}`);
	}
});
