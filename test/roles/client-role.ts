import test, {type ExecutionContext} from 'ava';
import type {Configuration} from '../../src/conf/configuration.ts';
import {readMasterFile} from '../../src/conf/services.ts';
import {ClientRole, clientCredentialFiles} from '../../src/roles/client-role.ts';
import {ClientRoleSessions} from '../../src/roles/client-role-sessions.ts';
import type {CredentialFiles} from '../../src/roles/credential-files.ts';
import {CredentialStore} from '../../src/tls/context/credential-store.ts';
import type {ClientSettings} from '../../src/wire/client-settings.ts';
import {recordedSettings} from '../helpers/client.ts';
import {instance} from '../helpers/instance.ts';
import {CertificateStore, collectLog} from '../helpers/openssl.ts';
import {configurationIn, disposedTlsmgrClient} from '../helpers/roles.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('client', {});

const masterCf = [
	'smtp unix - - n - - smtp',
	'relay unix - - n - - /usr/lib/postfix/smtp -o smtp_tls_cert_file=/relay/cert',
	'lmtp unix - - n - - lmtp -o lmtp_tls_CAfile=/lmtp/ca',
	'local unix - - n - - local',
	'',
].join('\n');
const enabled = {smtp_tls_security_level: 'may'};

type Parameters = Readonly<Record<string, string>>;

const postfix = instance(masterCf);
test.after.always(() => postfix[Symbol.dispose]());
let defaults: Configuration;
test.before(async () => {
	defaults = await configurationIn(postfix);
});

function configurationOf(parameters: Parameters): Configuration {
	return defaults.forService(new Map(Object.entries(parameters)));
}

/** The settings of a request that differ from the recorded ones. */
function settingsWith(change: Partial<ClientSettings['init']> = {}): ClientSettings {
	const {params, init, start} = recordedSettings(defaults.features);
	return {params, init: {...init, ...change}, start: {...start, namaddr: 'mx.example.com[192.0.2.1]:25'}};
}

interface Loaded {
	readonly role: ClientRole;
	readonly log: string[];
	/** The files that were watched before they were read. */
	readonly watched: readonly CredentialFiles[];
}

async function load(t: ExecutionContext, parameters: Parameters): Promise<Loaded> {
	const log = collectLog();
	const configuration = configurationOf(parameters);
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const {tlsmgr, clock} = disposedTlsmgrClient(t, configuration);
	const sessions = new ClientRoleSessions(tlsmgr, clock, configuration.features);
	t.teardown(() => sessions[Symbol.dispose]());
	const role = new ClientRole(configuration, credentialStore, sessions);
	const watched: CredentialFiles[] = [];
	const master = await readMasterFile(postfix.directory);
	await role.load(Promise.resolve(master), entries => watched.push(...entries));
	return {role, log, watched};
}

test.serial('a role without a security level is disabled, and reads no file', async t => {
	const {role, log, watched} = await load(t, {});
	t.false(role.enabled);
	t.deepEqual(watched, []);
	t.deepEqual(log, []);
	t.is(role.prepare(settingsWith()), undefined);
	t.deepEqual(log, ['warning: TLS client role is disabled by configuration']);
});

test.serial('equal settings share a context, and other settings do not', async t => {
	const {role} = await load(t, enabled);
	t.true(role.enabled);
	const first = role.prepare(settingsWith());
	t.is(first?.role, 'client');
	t.is(role.prepare(settingsWith())?.context, first?.context);
	const other = role.prepare(settingsWith({verifydepth: 3}));
	t.truthy(other);
	t.not(other?.context, first?.context);
	t.is(role.prepare(settingsWith())?.context, first?.context);
});

test.serial('files that were not loaded at start are opened without privileges, with a warning', async t => {
	const {role, log} = await load(t, enabled);
	log.length = 0;
	const files = {cert_file: store.path('client.cert'), key_file: store.path('client.key')};
	t.truthy(role.prepare(settingsWith(files)));
	t.true(log.includes('warning: request from tlsproxy client with unexpected settings'), log.join('\n'));
	t.true(log.some(line => line.includes(files.cert_file)));
	log.length = 0;
	t.truthy(role.prepare(settingsWith(files)));
	t.deepEqual(log, []);
});

test.serial('a request whose files cannot be read is refused, and the next one is served', async t => {
	const {role} = await load(t, enabled);
	t.is(role.prepare(settingsWith({CAfile: '/nonexistent'})), undefined);
	t.truthy(role.prepare(settingsWith()));
});

test.serial('clientCredentialFiles lists the files of each mail client and of the service', async t => {
	using enabledInstance = instance(masterCf, 'smtp_tls_security_level = may\nsmtp_tls_key_file = /key\n');
	const master = await readMasterFile(enabledInstance.directory);
	t.deepEqual(clientCredentialFiles(configurationOf({}), master), []);
	const entries = clientCredentialFiles(await configurationIn(enabledInstance), master);
	t.deepEqual(
		entries.map(({owner}) => owner),
		['smtp/unix', 'relay/unix', 'lmtp/unix', undefined],
	);
	const [smtp, relay, lmtp, service] = entries.map(({files}) => files);
	t.is(smtp?.key_file, '/key');
	t.is(relay?.cert_file, '/relay/cert');
	t.is(lmtp?.CAfile, '/lmtp/ca');
	t.is(lmtp?.key_file, '');
	t.is(service?.key_file, '/key');
});
