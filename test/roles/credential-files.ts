import test from 'ava';
import {type CredentialFiles, fileNames, loadProblem} from '../../src/roles/credential-files.ts';
import type {CredentialFileNames} from '../../src/tls/context/credential-store.ts';
import {CertificateStore, collectLog} from '../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('one', {});
store.make('two', {});
const path = (name: string): string => store.path(name);

function material(files: Partial<CredentialFileNames>): CredentialFiles {
	const none = {chain_files: '', cert_file: '', key_file: '', dcert_file: '', dkey_file: ''};
	return {
		owner: undefined,
		files: {...none, eccert_file: '', eckey_file: '', CAfile: '', CApath: '', ...files},
		appendDefault: false,
	};
}

const good = material({cert_file: path('one.cert'), key_file: path('one.key'), CAfile: path('two.cert')});
const mixed = material({cert_file: path('one.cert'), key_file: path('two.key')});

test('fileNames has certificates, keys and authorities, each chain file, and no directory', t => {
	t.deepEqual(fileNames([good]), [path('one.cert'), path('one.key'), path('two.cert')]);
	t.deepEqual(fileNames([material({chain_files: '/a, /b /c', CApath: '/d'}), material({})]), [
		'/a',
		'/b',
		'/c',
	]);
});

test('fileNames has the files of tables', t => {
	t.deepEqual(fileNames([{...material({}), tables: ['/etc/sni.db']}]), ['/etc/sni.db']);
});

test.serial('problemWith has nothing to say about what can be loaded, and logs nothing', t => {
	const log = collectLog();
	t.is(loadProblem([good], fileNames([good])), undefined);
	t.deepEqual(log, []);
});

test.serial('problemWith says in the words of the log what is wrong, and logs nothing', t => {
	const log = collectLog();
	t.regex(
		loadProblem([good, mixed], [path('one.cert')]) ?? '',
		/^cannot get RSA private key from file ".*two\.key"; TLS library problem: .*key values mismatch/,
	);
	t.deepEqual(log, []);
});

test.serial('problemWith looks only at those that have a file that has changed', t => {
	t.is(loadProblem([good, mixed], [path('one.key')]), undefined);
	t.is(loadProblem([mixed], ['/etc/passwd']), undefined);
});

test.serial('problemWith finds a file that is missing, also where stock would go on without', t => {
	const absent = material({chain_files: '/absent/chain.pem'});
	t.regex(
		loadProblem([absent], ['/absent/chain.pem']) ?? '',
		/error opening chain file: \/absent\/chain.pem/,
	);
});

test.serial('problemWith finds authorities that cannot be read', t => {
	const absent = material({CAfile: '/absent/ca.pem'});
	t.is(typeof loadProblem([absent], ['/absent/ca.pem']), 'string');
});
