-- The rows of a store of schema 0001, without its tables: two structures, and jobs in every status that it ever stored
-- (none was ever pending), with their attempts and events. The code of commit 8999d9c wrote them on 2026-11-25: its Store
-- took each job to where the job's name says, into SQLite, and the rows were then written out as they lay there. But bytes
-- are decode('<hexadecimal>', 'hex'), as PostgreSQL has it, and the day of all times, which are UTC, is moved back to 2025,
-- so that the leases are over wherever this is read.

INSERT INTO structures (digest, data) VALUES
  ('69c6f420ce9f921d1a18dc04408258f9c223ae521beb0fa88f78a540bda81477', decode('6e616e6f6f732d7374727563747572652d310a7b22617272617973223a7b2263656c6c223a5b223c6638222c5b332c335d5d2c22696e697469616c5f6d61676d6f6d73223a5b223c6638222c5b315d5d2c226e756d62657273223a5b223c6938222c5b315d5d2c22706f736974696f6e73223a5b223c6638222c5b312c335d5d7d2c22636f6e73747261696e7473223a5b5d2c22666f726d756c61223a224665222c22706263223a5b747275652c747275652c747275655d7d0af6285c8fc2f5f6bff6285c8fc2f5f63ff6285c8fc2f5f63ff6285c8fc2f5f63ff6285c8fc2f5f6bff6285c8fc2f5f63ff6285c8fc2f5f63ff6285c8fc2f5f63ff6285c8fc2f5f6bf66666666666602401a00000000000000000000000000000000000000000000000000000000000000', 'hex'));
INSERT INTO structures (digest, data) VALUES
  ('fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', decode('6e616e6f6f732d7374727563747572652d310a7b22617272617973223a7b2263656c6c223a5b223c6638222c5b332c335d5d2c226e756d62657273223a5b223c6938222c5b345d5d2c22706f736974696f6e73223a5b223c6638222c5b342c335d5d7d2c22636f6e73747261696e7473223a5b5d2c22666f726d756c61223a22437534222c22706263223a5b747275652c747275652c747275655d7d0ae17a14ae47e10c40000000000000000000000000000000000000000000000000e17a14ae47e10c40000000000000000000000000000000000000000000000000e17a14ae47e10c401d000000000000001d000000000000001d000000000000001d000000000000000000000000000000000000000000000000000000000000000000000000000000e17a14ae47e1fc3fe17a14ae47e1fc3fe17a14ae47e1fc3f0000000000000000e17a14ae47e1fc3fe17a14ae47e1fc3fe17a14ae47e1fc3f0000000000000000', 'hex'));
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a2145591dd7353b8464772407c5336', 'c8e1d6fb13238a25c8588f476336fb6e6d65186b9af53b92c4a69efb0ef5a0a3', 'queued', 'Cu4', 4, 'mock', 'md', 'queued', NULL, NULL, NULL, 'high_priority', 20, 1, 3, 0, NULL, NULL, '2025-01-15 20:11:21.949', NULL, NULL, NULL, NULL, '2025-01-15 20:11:52.087', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "queued"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a2145591e87a11b39c9871c528f7d0', 'e1443c0d68c425f4f8c9ed05b1cf461a4f63cc6dfd9a0a97b36ff64705b49785', 'script', '', 0, 'lammps', 'script', 'queued', NULL, NULL, NULL, 'simulations', 5, 1, 3, 0, NULL, NULL, '2025-01-15 20:11:21.960', NULL, NULL, NULL, NULL, '2025-01-15 20:11:21.960', NULL, NULL, '{"structure": null, "engine": "lammps", "task": "script", "parameters": {"text": "units metal\nrun 0  # ''quoted'' Å"}, "files": {"potential": {"name": "Cu_u3.eam", "sha256": "abababababababababababababababababababababababababababababababab"}}, "resources": {"ranks": 4, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a2145591e978b7b0f4c51e3db21300', 'a41d5e2cf4e24559f6c7345e7cc25e5d7882e451a6159b3cbedf9386fb3a75d5', 'running', 'Cu4', 4, 'mock', 'md', 'running', NULL, NULL, NULL, 'simulations', 5, 1, 3, 40, 100, 'node7-4711', '2025-01-15 20:11:21.961', '2025-01-15 20:11:21.975', NULL, NULL, '2025-01-15 20:12:21.986', '2025-01-15 20:11:21.961', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "running"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a2145592037053b999fc614862ba31', 'f139a9b40712b4ec5385e7781cff9698cff1b5a495916a2cad62c424f8c6c2fe', 'running, to be cancelled', 'Fe', 1, 'mock', 'md', 'running', NULL, NULL, NULL, 'simulations', 5, 1, 3, 70, 100, 'node7-4711', '2025-01-15 20:11:21.987', '2025-01-15 20:11:21.992', NULL, '2025-01-15 20:11:22.001', '2025-01-15 20:12:21.992', '2025-01-15 20:11:21.987', NULL, '69c6f420ce9f921d1a18dc04408258f9c223ae521beb0fa88f78a540bda81477', '{"structure": "69c6f420ce9f921d1a18dc04408258f9c223ae521beb0fa88f78a540bda81477", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "running, to be cancelled"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a21455921279b5802baf986352a0b1', '0a8d689a1f3c10f4025d02c255e8458df219f2ded10413dbb0f7a060a1e515ab', 'succeeded', 'Cu4', 4, 'mock', 'md', 'succeeded', NULL, NULL, NULL, 'simulations', 5, 1, 3, 100, 100, 'node7-4711', '2025-01-15 20:11:22.002', '2025-01-15 20:11:22.007', '2025-01-15 20:11:22.015', NULL, NULL, '2025-01-15 20:11:22.002', '{"energy": -3.5, "converged": true, "phase": "fcc"}', 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "succeeded"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a2145592227d499ef5e0e62de5e3f2', '1ebdc25a6c5f2d4392372869f2329344757e3f59e16875a9c723f62ac683d922', 'failed', 'Cu4', 4, 'mock', 'md', 'failed', 'engine', 'ERROR: Lost atoms
Last command: run 100', 'Use a smaller timestep.', 'simulations', 5, 1, 3, 12, 100, 'node7-4711', '2025-01-15 20:11:22.018', '2025-01-15 20:11:22.020', '2025-01-15 20:11:22.028', NULL, NULL, '2025-01-15 20:11:22.018', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "failed"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a21455922d73cb8a556db372f72337', '8c81c7275826df850921c67c9abd7decc635b54bcbd02df1cb2c5bf059f97c12', 'failed, lost', 'Cu4', 4, 'mock', 'md', 'failed', 'lost', 'worker node7-4711 was not heard of for -1 s', 'Look at the worker''s log and at its host''s memory; submit the job again to try it once more.', 'simulations', 5, 2, 2, 0, NULL, 'node7-4711', '2025-01-15 20:11:22.029', '2025-01-15 20:11:22.055', '2025-01-15 20:11:22.056', NULL, NULL, '2025-01-15 20:11:22.046', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "failed, lost"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a214559249799bbe4b8b139e69dc1e', '1169f9dae277e6b983b3fd728679e4f25cde2625ec90ad738f20e38cbfe9c1a2', 'cancelled', 'Cu4', 4, 'mock', 'md', 'cancelled', NULL, NULL, NULL, 'simulations', 5, 1, 3, 0, NULL, NULL, '2025-01-15 20:11:22.057', NULL, '2025-01-15 20:11:22.069', '2025-01-15 20:11:22.069', NULL, '2025-01-15 20:11:22.057', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "cancelled"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a21455925674d0a63de9ce024cc835', '10e3931ef1b39b6454f23b28e095a959cd78e2c20ae7a184c8a89eb6022bda2a', 'cancelled while it ran', 'Fe', 1, 'mock', 'md', 'cancelled', NULL, NULL, NULL, 'simulations', 5, 1, 3, 0, NULL, 'node7-4711', '2025-01-15 20:11:22.070', '2025-01-15 20:11:22.071', '2025-01-15 20:11:22.072', '2025-01-15 20:11:22.072', NULL, '2025-01-15 20:11:22.070', NULL, '69c6f420ce9f921d1a18dc04408258f9c223ae521beb0fa88f78a540bda81477', '{"structure": "69c6f420ce9f921d1a18dc04408258f9c223ae521beb0fa88f78a540bda81477", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "cancelled while it ran"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO jobs (id, key, name, formula, atoms, engine, task, status, reason, message, remedy, queue, priority, attempt, max_attempts, step, total, worker, created, started, ended, cancel_requested, lease_until, send_after, scalars, structure, request) VALUES
  ('01a21455925972ec9a67cb25963cdd1a', '0c8f94a90d913f46e5668575587dc8e0ddac3e0f717f2ab4192fd092f61804d2', 'queued again', 'Cu4', 4, 'mock', 'md', 'queued', NULL, NULL, NULL, 'simulations', 5, 2, 3, 0, NULL, NULL, '2025-01-15 20:11:22.073', NULL, NULL, NULL, NULL, '2025-01-15 20:11:22.074', NULL, 'fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8', '{"structure": "fe66c3739e286434a1638db845b6a64de56d8e8812a69d988c41e758898baba8", "engine": "mock", "task": "md", "parameters": {"steps": 100, "name": "queued again"}, "files": {}, "resources": {"ranks": 1, "threads": 1, "gpus": 0}}');
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a2145591e978b7b0f4c51e3db21300', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:21.975', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a2145592037053b999fc614862ba31', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:21.992', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a21455921279b5802baf986352a0b1', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.007', '2025-01-15 20:11:22.018', 'succeeded', NULL, NULL, NULL, '{"engine": "mock 1.0", "seed": 3}');
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a2145592227d499ef5e0e62de5e3f2', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.020', '2025-01-15 20:11:22.028', 'failed', 'engine', 'ERROR: Lost atoms
Last command: run 100', 'Use a smaller timestep.', '{"engine": "mock 1.0"}');
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a21455922d73cb8a556db372f72337', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.030', '2025-01-15 20:11:22.046', 'lost', 'lost', 'worker node7-4711 was not heard of for -1 s', 'Look at the worker''s log and at its host''s memory; submit the job again to try it once more.', NULL);
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a21455922d73cb8a556db372f72337', 2, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.055', '2025-01-15 20:11:22.057', 'failed', 'lost', 'worker node7-4711 was not heard of for -1 s', 'Look at the worker''s log and at its host''s memory; submit the job again to try it once more.', NULL);
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a21455925674d0a63de9ce024cc835', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.071', '2025-01-15 20:11:22.072', 'cancelled', NULL, NULL, NULL, NULL);
INSERT INTO attempts (job_id, number, worker, host, pid, started, ended, outcome, reason, message, remedy, provenance) VALUES
  ('01a21455925972ec9a67cb25963cdd1a', 1, 'node7-4711', 'node7', 4711, '2025-01-15 20:11:22.073', '2025-01-15 20:11:22.079', 'lost', 'lost', 'worker node7-4711 was not heard of for -1 s', 'Look at the worker''s log and at its host''s memory; submit the job again to try it once more.', NULL);
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (1, '01a2145591dd7353b8464772407c5336', 1, '2025-01-15 20:11:21.949', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (2, '01a2145591e87a11b39c9871c528f7d0', 1, '2025-01-15 20:11:21.960', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (3, '01a2145591e978b7b0f4c51e3db21300', 1, '2025-01-15 20:11:21.961', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (4, '01a2145591e978b7b0f4c51e3db21300', 1, '2025-01-15 20:11:21.978', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (5, '01a2145592037053b999fc614862ba31', 1, '2025-01-15 20:11:21.987', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (6, '01a2145592037053b999fc614862ba31', 1, '2025-01-15 20:11:21.992', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (7, '01a2145592037053b999fc614862ba31', 1, '2025-01-15 20:11:22.000', 'cancel', 'a cancel was asked for');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (8, '01a21455921279b5802baf986352a0b1', 1, '2025-01-15 20:11:22.002', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (9, '01a21455921279b5802baf986352a0b1', 1, '2025-01-15 20:11:22.007', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (10, '01a21455921279b5802baf986352a0b1', 1, '2025-01-15 20:11:22.008', 'warning', 'the potential is old');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (11, '01a21455921279b5802baf986352a0b1', 1, '2025-01-15 20:11:22.016', 'status', 'succeeded');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (12, '01a2145592227d499ef5e0e62de5e3f2', 1, '2025-01-15 20:11:22.018', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (13, '01a2145592227d499ef5e0e62de5e3f2', 1, '2025-01-15 20:11:22.021', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (14, '01a2145592227d499ef5e0e62de5e3f2', 1, '2025-01-15 20:11:22.028', 'status', 'failed (engine): ERROR: Lost atoms');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (15, '01a21455922d73cb8a556db372f72337', 1, '2025-01-15 20:11:22.029', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (16, '01a21455922d73cb8a556db372f72337', 1, '2025-01-15 20:11:22.030', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (17, '01a21455922d73cb8a556db372f72337', 2, '2025-01-15 20:11:22.046', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (18, '01a21455922d73cb8a556db372f72337', 2, '2025-01-15 20:11:22.055', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (19, '01a21455922d73cb8a556db372f72337', 2, '2025-01-15 20:11:22.057', 'status', 'failed (lost): worker node7-4711 was not heard of for -1 s');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (20, '01a214559249799bbe4b8b139e69dc1e', 1, '2025-01-15 20:11:22.057', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (21, '01a214559249799bbe4b8b139e69dc1e', 1, '2025-01-15 20:11:22.069', 'status', 'cancelled');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (22, '01a21455925674d0a63de9ce024cc835', 1, '2025-01-15 20:11:22.070', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (23, '01a21455925674d0a63de9ce024cc835', 1, '2025-01-15 20:11:22.071', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (24, '01a21455925674d0a63de9ce024cc835', 1, '2025-01-15 20:11:22.072', 'cancel', 'a cancel was asked for');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (25, '01a21455925674d0a63de9ce024cc835', 1, '2025-01-15 20:11:22.072', 'status', 'cancelled');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (26, '01a21455925972ec9a67cb25963cdd1a', 1, '2025-01-15 20:11:22.073', 'status', 'queued');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (27, '01a21455925972ec9a67cb25963cdd1a', 1, '2025-01-15 20:11:22.073', 'status', 'running on node7-4711');
INSERT INTO events (number, job_id, attempt, time, kind, text) VALUES
  (28, '01a21455925972ec9a67cb25963cdd1a', 2, '2025-01-15 20:11:22.075', 'status', 'queued');
