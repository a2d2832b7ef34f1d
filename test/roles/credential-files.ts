import test from 'ava';
import {type CredentialFiles, fileNames, loadProblem} from '../../src/roles/credential-files.ts';
import type {CredentialFileNames} from '../../src/tls/context/credential-store.ts';
import {CertificateStore, collectLog, noCredentialFiles} from '../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('one', {});
store.make('two', {});
const path = (name: string): string => store.path(name);

function entry(files: Partial<CredentialFileNames>): CredentialFiles {
	return {owner: undefined, files: {...noCredentialFiles, ...files}, appendDefault: false};
}

const good = entry({cert_file: path('one.cert'), key_file: path('one.key'), CAfile: path('two.cert')});
const mixed = entry({cert_file: path('one.cert'), key_file: path('two.key')});

test('fileNames has certificates, keys, CA files and each chain file, but no directory', t => {
	t.deepEqual(fileNames([good]), [path('one.cert'), path('one.key'), path('two.cert')]);
	t.deepEqual(fileNames([entry({chain_files: '/a, /b /c', CApath: '/d'}), entry({})]), ['/a', '/b', '/c']);
});

test('fileNames has the files of tables', t => {
	t.deepEqual(fileNames([{...entry({}), tables: ['/etc/sni.db']}]), ['/etc/sni.db']);
});

test.serial('loadProblem finds no problem with files that load, and logs nothing', t => {
	const log = collectLog();
	t.is(loadProblem([good], fileNames([good])), undefined);
	t.deepEqual(log, []);
});

test.serial('loadProblem returns the warnings instead of logging them', t => {
	const log = collectLog();
	t.regex(
		loadProblem([good, mixed], [path('one.cert')]) ?? '',
		/^cannot get RSA private key from file ".*two\.key"; TLS library problem: .*key values mismatch/,
	);
	t.deepEqual(log, []);
});

test.serial('loadProblem skips entries without a changed file', t => {
	t.is(loadProblem([good, mixed], [path('one.key')]), undefined);
	t.is(loadProblem([mixed], ['/etc/passwd']), undefined);
});

test.serial('loadProblem finds a missing chain file, although stock would continue without it', t => {
	const absent = entry({chain_files: '/absent/chain.pem'});
	t.regex(
		loadProblem([absent], ['/absent/chain.pem']) ?? '',
		/error opening chain file: \/absent\/chain.pem/,
	);
});

test.serial('loadProblem finds CA files that cannot be read', t => {
	const absent = entry({CAfile: '/absent/ca.pem'});
	t.is(typeof loadProblem([absent], ['/absent/ca.pem']), 'string');
});
