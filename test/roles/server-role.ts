import test, {type ExecutionContext} from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import type {Configuration} from '../../src/conf/configuration.ts';
import type {CredentialFiles} from '../../src/roles/credential-files.ts';
import type {ServerRequirements} from '../../src/roles/main-cf-settings.ts';
import {ServerRole, serverCredentialFiles, serverRequirements} from '../../src/roles/server-role.ts';
import {ServerRoleSessions} from '../../src/roles/server-role-sessions.ts';
import {CredentialStore} from '../../src/tls/context/credential-store.ts';
import {serverRequest} from '../helpers/client.ts';
import {instance} from '../helpers/instance.ts';
import {CertificateStore, collectLog} from '../helpers/openssl.ts';
import {configurationIn, disposedTlsmgrClient} from '../helpers/roles.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {});
store.write('chain.pem', store.read('server.key'), store.read('server.cert'));
const files = {
	tlsproxy_tls_cert_file: store.path('server.cert'),
	tlsproxy_tls_key_file: store.path('server.key'),
};

type Parameters = Readonly<Record<string, string>>;

const postfix = instance();
test.after.always(() => postfix[Symbol.dispose]());
let defaults: Configuration;
test.before(async () => {
	defaults = await configurationIn(postfix);
});

function configurationOf(parameters: Parameters): Configuration {
	return defaults.forService(new Map(Object.entries(parameters)));
}

const requirements = test.macro<
	[parameters: Parameters, expected: ServerRequirements | undefined, ...lines: readonly string[]]
>({
	exec(t, parameters, expected, ...lines) {
		const log = collectLog();
		t.deepEqual(serverRequirements(configurationOf(parameters)), expected);
		t.deepEqual(log, lines);
	},
	title: (_, parameters) => `serverRequirements with ${JSON.stringify(parameters)}`,
});

const may = {mandatory: false, asksCertificate: false, requiresCertificate: false};
const encrypt = {mandatory: true, asksCertificate: false, requiresCertificate: false};
test.serial(requirements, {}, undefined);
test.serial(requirements, {tlsproxy_use_tls: 'yes'}, may);
test.serial(requirements, {tlsproxy_enforce_tls: 'yes'}, encrypt);
test.serial(requirements, {tlsproxy_tls_security_level: 'none', tlsproxy_enforce_tls: 'yes'}, undefined);
test.serial(requirements, {tlsproxy_tls_security_level: 'may'}, may);
test.serial(requirements, {tlsproxy_tls_security_level: 'Encrypt'}, encrypt);
test.serial(
	requirements,
	{tlsproxy_tls_security_level: 'may', tlsproxy_tls_ask_ccert: 'yes'},
	{...may, asksCertificate: true},
);
test.serial(requirements, {tlsproxy_tls_security_level: 'may', tlsproxy_tls_req_ccert: 'yes'}, may);
test.serial(
	requirements,
	{tlsproxy_tls_security_level: 'encrypt', tlsproxy_tls_req_ccert: 'yes'},
	{mandatory: true, asksCertificate: true, requiresCertificate: true},
);
test.serial(
	requirements,
	{tlsproxy_tls_security_level: 'verify'},
	encrypt,
	'warning: tlsproxy_tls_security_level: unsupported TLS level "verify", using "encrypt"',
);

test.serial('an unknown security level is a configuration error', t => {
	t.throws(() => serverRequirements(configurationOf({tlsproxy_tls_security_level: 'bogus'})), {
		instanceOf: ConfigurationError,
		message: 'Invalid TLS level "bogus"',
	});
});

interface Loaded {
	readonly role: ServerRole;
	readonly log: readonly string[];
	/** The files that were watched before they were read. */
	readonly watched: readonly CredentialFiles[];
}

async function load(t: ExecutionContext, parameters: Parameters): Promise<Loaded> {
	const log = collectLog();
	const configuration = configurationOf(parameters);
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const {tlsmgr} = disposedTlsmgrClient(t, configuration);
	const sessions = new ServerRoleSessions(tlsmgr, configuration.features);
	const role = new ServerRole(configuration, credentialStore, sessions);
	const watched: CredentialFiles[] = [];
	await role.load(entries => watched.push(...entries));
	return {role, log, watched};
}

test.serial('a role without a security level is disabled, and reads no file', async t => {
	const {role, log, watched} = await load(t, files);
	t.false(role.enabled);
	t.is(role.prepare(serverRequest, undefined), undefined);
	t.deepEqual(watched, []);
	t.is(log.filter(line => line.startsWith('warning: TLS server role is disabled')).length, 1);
});

test.serial('a role with a certificate is enabled, and its requests get the settings of main.cf', async t => {
	const {role, log, watched} = await load(t, {
		...files,
		tlsproxy_tls_security_level: 'encrypt',
		tlsproxy_tls_mandatory_ciphers: 'high',
		tlsproxy_tls_exclude_ciphers: 'MD5',
		tlsproxy_tls_ask_ccert: 'yes',
	});
	t.deepEqual(log, []);
	t.true(role.enabled);
	t.is(watched.length, 1);
	t.is(watched[0]?.files.cert_file, files.tlsproxy_tls_cert_file);
	const parameters = role.prepare(serverRequest, undefined);
	t.is(parameters?.role, 'server');
	t.like(parameters?.start, {
		namaddr: serverRequest.remoteEndpoint,
		serverid: serverRequest.serverId,
		cipher_grade: 'high',
		cipher_exclusions: 'MD5 aNULL',
	});
	t.is(role.prepare(serverRequest, undefined)?.context, parameters?.context);
});

const cannot = test.macro<[parameters: Parameters, ...lines: readonly string[]]>({
	async exec(t, parameters, ...lines) {
		const {role, log} = await load(t, {tlsproxy_tls_security_level: 'may', ...parameters});
		t.false(role.enabled);
		t.is(role.prepare(serverRequest, undefined), undefined);
		for (const line of lines) {
			t.true(log.includes(line), `${line}\n${log.join('\n')}`);
		}
	},
	title: (condition = '') => `${condition}: the role is disabled, and the reason is logged`,
});

const NO_CERTIFICATES = "warning: No server certs available. TLS can't be enabled";
test.serial('no certificate', cannot, {}, NO_CERTIFICATES);
test.serial(
	'a client certificate is requested without a server certificate',
	cannot,
	{tlsproxy_tls_cert_file: 'none', tlsproxy_tls_ask_ccert: 'yes'},
	'warning: Need a server cert to request client certs',
	NO_CERTIFICATES,
);
test.serial(
	'a missing certificate',
	cannot,
	{tlsproxy_tls_cert_file: '/nonexistent'},
	'warning: cannot get RSA certificate from file "/nonexistent": disabling TLS support',
);
test.serial(
	'a table of server names that cannot be listed',
	cannot,
	{...files, tls_server_sni_maps: 'static:none'},
	"warning: TLS can't be enabled for the server role",
);

test.serial('tlsproxy_tls_cert_file = none enables anonymous ciphers', async t => {
	const {role} = await load(t, {tlsproxy_tls_security_level: 'may', tlsproxy_tls_cert_file: 'none'});
	t.true(role.enabled);
});

test.serial('chain files take precedence over the other parameters, with a warning', async t => {
	const {role, log} = await load(t, {
		tlsproxy_tls_security_level: 'may',
		tlsproxy_tls_req_ccert: 'yes',
		tlsproxy_tls_cert_file: '/nonexistent',
		tlsproxy_tls_chain_files: store.path('chain.pem'),
	});
	t.true(role.enabled);
	t.is(log.length, 2, log.join('\n'));
	t.regex(log[0] ?? '', /^warning: Both tlsproxy_tls_chain_files and one or more of the legacy /);
	t.is(log[1], "warning: Can't require client certs unless TLS is required");
});

test.serial('serverCredentialFiles lists the files of the role and its tables', t => {
	t.deepEqual(serverCredentialFiles(configurationOf(files)), []);
	const [entry, ...others] = serverCredentialFiles(
		configurationOf({
			...files,
			tlsproxy_tls_security_level: 'may',
			tls_server_sni_maps: 'texthash:/etc/sni',
			tls_append_default_CA: 'yes',
		}),
	);
	t.deepEqual(others, []);
	t.like(entry, {owner: undefined, appendDefault: true, tables: ['/etc/sni']});
	t.is(entry?.files.key_file, files.tlsproxy_tls_key_file);
});
