"""Chains of landings, entries put aside after the machine failed, and merge policies."""

from __future__ import annotations

from django.db import migrations, models

import orchestration.models.repositories


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0005_endpoint_roles_and_detours"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="mergeentry",
            name="one_merging_entry_per_branch",
        ),
        migrations.AddField(
            model_name="mergeentry",
            name="chain_place",
            field=models.PositiveSmallIntegerField(default=0, help_text="Among those that land under one swap."),
        ),
        migrations.AddField(
            model_name="mergeentry",
            name="not_before",
            field=models.DateTimeField(blank=True, help_text="Put aside until then: the machine failed.", null=True),
        ),
        migrations.AddField(
            model_name="repository",
            name="merge_policies",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='What to do where a file conflicts: [["CHANGELOG.md", "union"], ["dist/**", "ours"]].',
                validators=[orchestration.models.repositories.check_policies],
            ),
        ),
        migrations.AddConstraint(
            model_name="mergeentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "merging")),
                fields=("swarm", "chain_place"),
                name="one_merging_chain_per_branch",
            ),
        ),
    ]
