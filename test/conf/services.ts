import {mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {readConfiguration} from '../../src/conf/postconf.ts';
import {type MailClient, mailClients, readMasterFile} from '../../src/conf/services.ts';

async function clients(
	t: ExecutionContext,
	mainCf: string,
	masterCf: string,
): Promise<readonly MailClient[]> {
	const configDirectory = mkdtempSync(join(tmpdir(), 'services-'));
	t.teardown(() => rmSync(configDirectory, {recursive: true}));
	writeFileSync(join(configDirectory, 'main.cf'), mainCf);
	writeFileSync(join(configDirectory, 'master.cf'), masterCf);
	/* Postfix waits while main.cf is younger than a second. */
	utimesSync(join(configDirectory, 'main.cf'), 1, 1);
	const configuration = await readConfiguration({
		configDirectory,
		overrides: [
			['smtp_tls_cert_file', '/of/tlsproxy'],
			['site', 'of.tlsproxy'],
		],
		serviceName: 'tlsproxy',
		processName: 'tlsproxy',
	});
	return mailClients(await readMasterFile(configDirectory), configuration);
}

test('mailClients finds each service that runs smtp or lmtp, independent of its name', async t => {
	const found = await clients(
		t,
		'',
		[
			'smtp inet n - n - - smtpd',
			'smtp unix - - n - - smtp',
			'relay unix - - n - - /usr/lib/postfix/sbin/smtp',
			'local unix - n n - - local',
			'out unix - - n - - smtp',
			' -v -o smtp_helo_name=x',
			'lmtp unix - - n - - lmtp',
			'uucp unix - n n - - pipe flags=F user=uucp argv=smtp\n',
		].join('\n'),
	);
	t.deepEqual(
		found.map(({service, program}) => `${service} ${program}`),
		['smtp/unix smtp', 'relay/unix smtp', 'out/unix smtp', 'lmtp/unix lmtp'],
	);
});

test('a service has the settings of main.cf and its -o options, and no -o options of tlsproxy', async t => {
	const [plain, explicit, referring] = await clients(
		t,
		'smtp_tls_cert_file = /main/$site/cert\nsite = main\nsmtp_tls_key_file = $smtp_tls_cert_file\n',
		[
			'smtp unix - - n - - smtp',
			'explicit unix - - n - - smtp -o smtp_tls_cert_file=/explicit/cert -o { smtp_tls_chain_files = /a, /b }',
			'referring unix - - n - - smtp -o site=there -o smtp_tls_CAfile=/ca/$service_name/${process_name}\n',
		].join('\n'),
	);
	t.is(plain?.configuration.string('smtp_tls_cert_file'), '/main/main/cert');
	t.is(explicit?.configuration.string('smtp_tls_cert_file'), '/explicit/cert');
	t.is(explicit?.configuration.string('smtp_tls_key_file'), '/explicit/cert');
	t.is(explicit?.configuration.string('smtp_tls_chain_files'), '/a, /b');
	t.is(referring?.configuration.string('smtp_tls_cert_file'), '/main/there/cert');
	t.is(referring?.configuration.string('smtp_tls_CAfile'), '/ca/referring/smtp');
	t.is(plain?.configuration.string('smtp_tls_CAfile'), '');
});

test('mailClients returns an empty list without such services', async t => {
	t.deepEqual(await clients(t, '', 'pickup unix n - n 60 1 pickup\n'), []);
});
