-- The key that signs tokens, what SetIamPolicy gave a queue, and how far it was purged.

CREATE TABLE signing_key (
    pem TEXT NOT NULL -- private: the file is its owner's alone
) STRICT;

ALTER TABLE queue ADD COLUMN policy BLOB; -- a google.iam.v1.Policy
ALTER TABLE queue ADD COLUMN purged INTEGER NOT NULL DEFAULT 0; -- tasks up to this number are, whatever their clocks said
