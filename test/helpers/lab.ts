/*
 * Server certificates, valid and invalid in each way that affects verification. Unless stated
 * otherwise they are for mx.example.com, and issued by an intermediate CA of one root.
 */
import {createHash} from 'node:crypto';
import {
	chmodSync,
	cpSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	renameSync,
	rmSync,
} from 'node:fs';
import {homedir} from 'node:os';
import {dirname, join} from 'node:path';
import {type CertificateOptions, CertificateStore, ed25519, openssl, rsa} from './openssl.ts';

const ec = (curve: string) => ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`];
const CA = 'basicConstraints=critical,CA:TRUE';
const NO_CA = 'basicConstraints=CA:FALSE';
const SERVER = 'extendedKeyUsage=serverAuth';
const names = (...list: readonly string[]) => `subjectAltName=${list.join(',')}`;
const MX = 'DNS:mx.example.com';
const usual = [NO_CA, SERVER, names(MX)];

const authorities: Readonly<Record<string, CertificateOptions>> = {
	root: {key: rsa, subject: '/CN=Lab Root CA/O=Lab', extensions: [CA]},
	other: {key: rsa, subject: '/CN=Other Root', extensions: [CA]},
	int: {key: rsa, subject: '/CN=Lab Intermediate CA/O=Lab', extensions: [CA], issuer: 'root'},
	int2: {key: rsa, subject: '/CN=Lab Int2/O=Lab', extensions: [CA], issuer: 'int'},
	int3: {keyOf: 'int2', subject: '/CN=Lab Int3/O=Lab', extensions: [CA], issuer: 'int2'},
	int4: {keyOf: 'int2', subject: '/CN=Lab Int4/O=Lab', extensions: [CA], issuer: 'int3'},
	oldint: {
		keyOf: 'int2',
		subject: '/CN=Lab Old/O=Lab',
		extensions: [CA],
		issuer: 'root',
		notAfter: '20250101000000Z',
	},
	noint: {keyOf: 'int2', subject: '/CN=Lab No CA/O=Lab', extensions: [NO_CA], issuer: 'root'},
	shortint: {keyOf: 'int2', subject: '/CN=Lab Short/O=Lab', extensions: [`${CA},pathlen:0`], issuer: 'root'},
	shortint2: {keyOf: 'int2', subject: '/CN=Lab Short 2/O=Lab', extensions: [CA], issuer: 'shortint'},
	limited: {
		keyOf: 'int2',
		subject: '/CN=Lab Limited/O=Lab',
		extensions: [CA, 'nameConstraints=critical,permitted;DNS:example.com'],
		issuer: 'root',
	},
	mislimited: {
		keyOf: 'int2',
		subject: '/CN=Lab Mislimited/O=Lab',
		extensions: [CA, 'nameConstraints=critical,permitted;DNS:example.org'],
		issuer: 'root',
	},
};

/** A server certificate, and the certificates that are sent after it. */
interface Leaf extends CertificateOptions {
	readonly chain?: readonly string[];
}

const IDN = 'xn--bcher-kva.example';

const leaves: Readonly<Record<string, Leaf>> = {
	good: {key: rsa},
	goodroot: {keyOf: 'good', chain: ['int', 'root']},
	goodnoint: {keyOf: 'good', chain: []},
	goodec: {key: ec('P-256')},
	ec384: {key: ec('P-384')},
	ec521: {key: ec('P-521')},
	ed: {key: ed25519},
	ed448: {key: ['-algorithm', 'ED448']},
	pss: {key: ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048']},
	rsa4096: {key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096']},
	weak: {key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024']},
	sha1: {keyOf: 'good', digest: 'sha1'},
	wrong: {
		key: rsa,
		subject: '/CN=wrong.example.org',
		extensions: [NO_CA, SERVER, names('DNS:wrong.example.org')],
	},
	cnonly: {keyOf: 'good', extensions: [NO_CA, SERVER]},
	cnsan: {keyOf: 'good', extensions: [NO_CA, SERVER, names('DNS:other.example.org')]},
	nocn: {keyOf: 'good', subject: '/O=NoCN only'},
	expired: {key: rsa, notAfter: '20250101000000Z'},
	future: {keyOf: 'good', notBefore: '20900101000000Z'},
	selfs: {key: rsa, issuer: '', chain: []},
	selfexp: {key: rsa, issuer: '', chain: [], notAfter: '20250101000000Z'},
	clientonly: {keyOf: 'good', extensions: [NO_CA, 'extendedKeyUsage=clientAuth', names(MX)]},
	anyeku: {keyOf: 'good', extensions: [NO_CA, 'extendedKeyUsage=anyExtendedKeyUsage', names(MX)]},
	codeeku: {keyOf: 'good', extensions: [NO_CA, 'extendedKeyUsage=codeSigning', names(MX)]},
	keyusage: {keyOf: 'good', extensions: [...usual, 'keyUsage=critical,keyCertSign']},
	fromroot: {keyOf: 'good', issuer: 'root', chain: []},
	untrusted: {keyOf: 'good', issuer: 'other', chain: []},
	untrustedroot: {keyOf: 'good', issuer: 'other', chain: ['other']},
	deep: {keyOf: 'good', issuer: 'int2', chain: ['int2', 'int']},
	deep3: {keyOf: 'good', issuer: 'int3', chain: ['int3', 'int2', 'int']},
	deep4: {keyOf: 'good', issuer: 'int4', chain: ['int4', 'int3', 'int2', 'int']},
	expiredint: {keyOf: 'good', issuer: 'oldint', chain: ['oldint']},
	noca: {keyOf: 'good', issuer: 'noint', chain: ['noint']},
	pathlen: {keyOf: 'good', issuer: 'shortint2', chain: ['shortint2', 'shortint']},
	constrained: {keyOf: 'good', issuer: 'limited', chain: ['limited']},
	misconstrained: {keyOf: 'good', issuer: 'mislimited', chain: ['mislimited']},
	/* A certificate with the subject of its issuer. */
	selfissued: {keyOf: 'good', subject: '/CN=Lab Intermediate CA/O=Lab'},
	subdom: {
		keyOf: 'good',
		subject: '/CN=a.b.example.com',
		extensions: [NO_CA, SERVER, names('DNS:a.b.example.com')],
	},
	multi: {keyOf: 'good', extensions: [NO_CA, SERVER, names('DNS:foo.example.net', MX)]},
	manysans: {
		keyOf: 'good',
		extensions: [
			NO_CA,
			SERVER,
			names(...Array.from({length: 200}, (_, index) => `DNS:n${index}.example.net`), MX),
		],
	},
	wild: {keyOf: 'good', subject: '/CN=wild', extensions: [NO_CA, SERVER, names('DNS:*.example.com')]},
	wildpartial: {keyOf: 'good', subject: '/CN=wild', extensions: [NO_CA, SERVER, names('DNS:m*.example.com')]},
	wildtop: {keyOf: 'good', subject: '/CN=wild', extensions: [NO_CA, SERVER, names('DNS:*.com')]},
	wilddeep: {keyOf: 'good', subject: '/CN=wild', extensions: [NO_CA, SERVER, names('DNS:mx.*.com')]},
	uppersan: {keyOf: 'good', extensions: [NO_CA, SERVER, names('DNS:MX.Example.COM')]},
	trailingdot: {keyOf: 'good', extensions: [NO_CA, SERVER, names('DNS:mx.example.com.')]},
	emailsan: {keyOf: 'good', extensions: [NO_CA, SERVER, names('email:postmaster@mx.example.com')]},
	ipsan: {keyOf: 'good', extensions: [NO_CA, SERVER, names('IP:127.0.0.1')]},
	/* A dNSName of "mx.example.com", NUL, ".evil.example". */
	nulsan: {
		keyOf: 'good',
		subject: '/CN=nul',
		extensions: [
			NO_CA,
			SERVER,
			`subjectAltName=DER:${derOfName(Buffer.from('mx.example.com\0.evil.example')).toString('hex')}`,
		],
	},
	idn: {keyOf: 'good', subject: `/CN=${IDN}`, extensions: [NO_CA, SERVER, names(`DNS:${IDN}`)]},
	ulabel: {keyOf: 'good', subject: '/CN=bücher.example', extensions: [NO_CA, SERVER]},
	twocn: {keyOf: 'good', subject: '/CN=first.example.com/CN=mx.example.com', extensions: [NO_CA, SERVER]},
	/* UTF-16, Latin-1, and the longest permitted text. */
	bmpcn: {keyOf: 'good', subject: '/CN=мх.example', strings: 'MASK:0x800'},
	latin1cn: {keyOf: 'good', subject: '/CN=Müller', strings: 'MASK:0x4'},
	utf8cn: {keyOf: 'good', subject: '/CN=Müller'},
	longcn: {keyOf: 'good', subject: `/CN=${'x'.repeat(64)}`},
};

const client: Leaf = {
	key: rsa,
	subject: '/CN=client.example.net',
	extensions: [NO_CA, 'extendedKeyUsage=clientAuth', names('DNS:client.example.net')],
};
const {key: _, ...keyless} = client;
const sameKey: Leaf = {...keyless, keyOf: 'client'};
const clients: Readonly<Record<string, Leaf>> = {
	client,
	clientec: {...client, key: ec('P-256')},
	cliented: {...client, key: ed25519},
	clientexpired: {...sameKey, notAfter: '20250101000000Z'},
	clientfuture: {...sameKey, notBefore: '20900101000000Z'},
	clientother: {...sameKey, issuer: 'other', chain: []},
	clientself: {...sameKey, issuer: '', chain: []},
	clientdeep: {...sameKey, issuer: 'int3', chain: ['int3', 'int2', 'int']},
	clientserver: {...sameKey, extensions: [NO_CA, SERVER, names('DNS:client.example.net')]},
	clientnocn: {...sameKey, subject: '/O=NoCN only'},
	clientutf8: {...sameKey, subject: '/CN=Müller'},
	clientsha1: {...sameKey, digest: 'sha1'},
	clientweak: {...client, key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024']},
};

/**
 * A private copy of all certificates: NAME.cert, NAME.key, NAME.chain and NAME.pem of each, readable by all.
 *
 * Making them takes openssl(1) twenty seconds. They do not depend on the test, so they are made once per release
 * of openssl(1) and definition, in the user's cache.
 */
export function makeLab(): CertificateStore {
	const cached = join(cacheDirectory(), 'certificates', definitionDigest());
	if (!existsSync(cached)) {
		using made = makeCertificates();
		mkdirSync(dirname(cached), {recursive: true});
		/* Several test files may get here at once: the first rename wins, and a partial copy is never seen. */
		const copy = mkdtempSync(`${cached}.`);
		cpSync(made.directory, copy, {recursive: true});
		try {
			renameSync(copy, cached);
		} catch (reason) {
			rmSync(copy, {recursive: true});
			if (!existsSync(cached)) {
				throw reason;
			}
		}
	}

	const lab = new CertificateStore();
	cpSync(cached, lab.directory, {recursive: true});
	for (const name of ['client', 'clientec', 'good']) {
		chmodSync(lab.path(`${name}.key`), 0o644);
	}

	chmodSync(lab.directory, 0o755);
	return lab;
}

/* Outside the checkout, where installations of other releases are cached, too. */
function cacheDirectory(): string {
	return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'postfix-tlsproxy');
}

/* Everything that the certificates are made from. */
function definitionDigest(): string {
	const hash = createHash('sha256').update(openssl('version', '-a'));
	for (const source of ['lab.ts', 'openssl.ts']) {
		hash.update(readFileSync(join(import.meta.dirname, source)));
	}

	return hash.digest('hex').slice(0, 16);
}

function makeCertificates(): CertificateStore {
	const lab = new CertificateStore();
	for (const [name, wanted] of Object.entries(authorities)) {
		lab.make(name, wanted);
	}

	for (const [name, {chain = ['int'], ...wanted}] of Object.entries({...leaves, ...clients})) {
		const {issuer = 'int', ...rest} = {subject: '/CN=mx.example.com', extensions: usual, ...wanted};
		lab.make(name, issuer === '' ? rest : {...rest, issuer});
		const links = chain.map(link => lab.read(`${link}.cert`));
		lab.write(`${name}.chain`, ...links);
		lab.write(`${name}.pem`, lab.read(`${name}.key`), lab.read(`${name}.cert`), ...links);
	}

	return lab;
}

/* SEQUENCE of one dNSName, shorter than 128 bytes. */
function derOfName(name: Uint8Array): Buffer {
	return Buffer.from([0x30, name.length + 2, 0x82, name.length, ...name]);
}
