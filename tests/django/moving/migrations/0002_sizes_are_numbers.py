from django.db import migrations, models


def double(apps, editor):
    apps.get_model("moving", "Box").objects.update(size=models.F("size") * 2)


class Migration(migrations.Migration):
    dependencies = (("moving", "0001_initial"),)
    operations = (
        migrations.AlterField("Box", "size", models.IntegerField()),
        migrations.RunPython(double),
    )
