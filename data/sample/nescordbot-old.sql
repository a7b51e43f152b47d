-- A small database of the bot that came before NescordBot, written for this repository: real tables, made-up notes.
-- Make it with: sqlite3 old.db < data/sample/nescordbot-old.sql
CREATE TABLE knowledge_notes (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    content TEXT NOT NULL,
    tags TEXT,
    source_type TEXT,
    source_id TEXT,
    user_id TEXT NOT NULL,
    channel_id TEXT,
    guild_id TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    vector_updated_at DATETIME
);
CREATE TABLE note_links (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    from_note_id TEXT NOT NULL,
    to_note_id TEXT NOT NULL,
    link_type TEXT DEFAULT 'reference',
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (from_note_id, to_note_id)
);
CREATE TABLE note_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    note_id TEXT NOT NULL,
    title_before TEXT,
    content_before TEXT,
    tags_before TEXT,
    title_after TEXT,
    content_after TEXT,
    tags_after TEXT,
    user_id TEXT,
    edit_type TEXT,
    timestamp DATETIME DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO knowledge_notes
    (id, title, content, tags, source_type, source_id, user_id, channel_id, guild_id, created_at, updated_at)
VALUES
    ('6f1c2d1e-1111-4a51-9c1e-000000000001', '紅茶の淹れ方',
     '沸騰した湯を注ぎ、三分蒸らす。茶葉は[[茶葉の保存]]のとおりに。 #お茶',
     '["お茶", "キッチン"]', 'manual', NULL, '420000000000000042', NULL, NULL,
     '2025-06-01T09:30:00.123456', '2025-06-20T21:00:00.000000'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000002', '茶葉の保存',
     '缶に入れ、湿気と光を避ける。開けたら二か月で使い切る。',
     '["お茶"]', 'voice', NULL, '420000000000000042', NULL, NULL,
     '2025-06-02T08:00:00', '2025-06-02T08:00:00'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000003', 'Router password policy',
     'Rotate the guest password on the first of each month. The sticker on the router is wrong.',
     '["network", "home"]', 'text', '1111111111111111111', '420000000000000042', '222222222222222222',
     '777777777777777777', '2025-06-03 01:02:03', '2025-06-03 01:02:03'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000004', 'Guest network',
     'Name: kitchen-lamp. Reach the printer by its address, not by its name.',
     '["network", "printer"', 'manual', NULL, '430000000000000043', NULL, NULL,
     '2025-06-04T12:00:00', '2025-06-05T12:00:00'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000005', 'Merged: 週末の計画',
     '# 週末の計画

土曜は市場、日曜は[[紅茶の淹れ方]]を試す。',
     '[]', 'merged', NULL, '420000000000000042', NULL, NULL,
     '2025-06-06T18:45:00', '2025-06-06T18:45:00');
INSERT INTO note_links (from_note_id, to_note_id, link_type, created_at) VALUES
    ('6f1c2d1e-1111-4a51-9c1e-000000000001', '6f1c2d1e-1111-4a51-9c1e-000000000002', 'reference', '2025-06-02T08:00:00'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000003', '6f1c2d1e-1111-4a51-9c1e-000000000004', 'related', '2025-06-04T12:00:00'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000002', 'gone', 'reference', '2025-06-04T12:00:00');
INSERT INTO note_history
    (note_id, title_before, content_before, tags_before, title_after, content_after, tags_after, user_id, edit_type,
     timestamp)
VALUES
    ('6f1c2d1e-1111-4a51-9c1e-000000000001', '紅茶', '沸騰した湯を注ぐ。', '["お茶"]', '紅茶の淹れ方', '沸騰した湯を注ぎ、二分蒸らす。',
     '["お茶"]', '420000000000000042', 'update', '2025-06-10 10:00:00'),
    ('6f1c2d1e-1111-4a51-9c1e-000000000001', '紅茶の淹れ方', '沸騰した湯を注ぎ、二分蒸らす。', '["お茶"]', '紅茶の淹れ方',
     '沸騰した湯を注ぎ、三分蒸らす。茶葉は[[茶葉の保存]]のとおりに。 #お茶', '["お茶", "キッチン"]', '420000000000000042', 'update',
     '2025-06-20 12:00:00');
